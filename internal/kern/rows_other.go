//go:build !amd64 || noasm

package kern

func copyRows(*Rows) bool { return false }
