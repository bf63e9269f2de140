package blobs

import "syscall"

// free is how many bytes this process may still write on the disk of a folder.
func free(dir string) (bytes uint64, ok bool) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, false
	}
	return st.Bavail * uint64(st.Bsize), true //nolint:gosec // a size of blocks is positive
}
