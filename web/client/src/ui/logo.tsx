/** Two people talking: a bubble inside a bubble. */
export function Logo({ size = 32 }: { size?: number }) {
  return (
    <svg class="logo" width={size} height={size} viewBox="0 0 32 32" aria-hidden="true">
      <rect class="logo-ground" width="32" height="32" rx="9" />
      <path
        class="logo-first"
        d="M7 10.5A3.5 3.5 0 0 1 10.5 7h8a3.5 3.5 0 0 1 3.5 3.5v4a3.5 3.5 0 0 1-3.5 3.5H12l-5 3.5z"
      />
      <path class="logo-second" d="M25 16.5v9.5l-4-3h-5.5a3 3 0 0 1-2.9-2.2h5.9a5.5 5.5 0 0 0 5.5-5.3z" />
    </svg>
  );
}
