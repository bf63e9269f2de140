/** What a caller can do about an error. The codes are those of the Connect protocol and stay as they are. */
export type ErrorCode =
	| "canceled"
	| "unknown"
	| "invalid_argument"
	| "deadline_exceeded"
	| "not_found"
	| "already_exists"
	| "permission_denied"
	| "resource_exhausted"
	| "failed_precondition"
	| "aborted"
	| "out_of_range"
	| "unimplemented"
	| "internal"
	| "unavailable"
	| "data_loss"
	| "unauthenticated";

/** Every error of this SDK. */
export class ParleyError extends Error {
	override readonly name = "ParleyError";
	/** What kind of error it is. */
	readonly code: ErrorCode;
	/** Why, in one word for programs: "network" when no answer came, "timeout", "" when the code says it all. */
	readonly reason: string;
	/** Seconds after which it is worth trying again; 0 when the server did not say. */
	readonly retryAfter: number;

	constructor(
		code: ErrorCode,
		message: string,
		options: { reason?: string; retryAfter?: number; cause?: unknown } = {},
	) {
		super(message, options.cause === undefined ? undefined : { cause: options.cause });
		this.code = code;
		this.reason = options.reason ?? "";
		this.retryAfter = options.retryAfter ?? 0;
	}

	/** The same request may succeed later: nobody answered, the server starts or is overloaded. */
	get temporary(): boolean {
		// Too often is over in a moment, and the server says when; a request that is too large stays so.
		const later = this.code === "resource_exhausted" && this.retryAfter > 0;
		return later || this.code === "unavailable" || this.code === "deadline_exceeded";
	}
}

const codes: ReadonlySet<string> = new Set<ErrorCode>([
	"canceled",
	"unknown",
	"invalid_argument",
	"deadline_exceeded",
	"not_found",
	"already_exists",
	"permission_denied",
	"resource_exhausted",
	"failed_precondition",
	"aborted",
	"out_of_range",
	"unimplemented",
	"internal",
	"unavailable",
	"data_loss",
	"unauthenticated",
]);

/** Makes an error of what a server, or something in front of it, answered. body is the parsed JSON, if it was any. */
export function errorFromAnswer(status: number, headers: Headers, body: unknown): ParleyError {
	const said = typeof body === "object" && body !== null ? (body as Record<string, unknown>) : {};
	const code = typeof said.code === "string" && codes.has(said.code) ? (said.code as ErrorCode) : codeOfStatus(status);
	const message = typeof said.message === "string" && said.message !== "" ? said.message : `HTTP status ${status}`;
	return new ParleyError(code, message, {
		reason: headers.get("parley-reason") ?? "",
		retryAfter: seconds(headers.get("retry-after")),
	});
}

/** An error of fetch, or one that was made here, as ParleyError. */
export function errorFrom(cause: unknown, signal?: AbortSignal): ParleyError {
	if (cause instanceof ParleyError) {
		return cause;
	}
	if (signal?.aborted) {
		return signal.reason instanceof ParleyError ? signal.reason : new ParleyError("canceled", "cancelled", { cause });
	}
	return new ParleyError("unavailable", "the server cannot be reached", { reason: "network", cause });
}

function codeOfStatus(status: number): ErrorCode {
	switch (status) {
		case 400:
			return "invalid_argument";
		case 401:
			return "unauthenticated";
		case 403:
			return "permission_denied";
		case 404:
			return "not_found";
		case 409:
			return "aborted";
		case 413:
		case 415:
			return "invalid_argument";
		case 429:
			return "resource_exhausted";
		case 408:
		case 502:
		case 503:
		case 504:
			return "unavailable";
		default:
			return status >= 500 ? "internal" : "unknown";
	}
}

function seconds(header: string | null): number {
	const n = Number(header);
	return header !== null && Number.isFinite(n) && n > 0 ? n : 0;
}
