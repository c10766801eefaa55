package onnx

import (
	"errors"
	"fmt"
)

// The roots of this package's errors.
var (
	// ErrCorrupt: the bytes are not a valid ONNX model.
	ErrCorrupt = errors.New("corrupt model")
	// ErrUnsupported: the model uses something that whit has no representation for.
	ErrUnsupported = errors.New("unsupported")
	// ErrTooLarge: the model is over a limit of Options.
	ErrTooLarge = errors.New("too large")
)

func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrCorrupt, fmt.Sprintf(format, args...))
}

func unsupported(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrUnsupported, fmt.Sprintf(format, args...))
}

// UnsupportedError lists all that a model uses and whit cannot represent.
type UnsupportedError struct{ Errs []error }

// Error is the first problem and how many more there are.
func (e *UnsupportedError) Error() string {
	if len(e.Errs) == 1 {
		return e.Errs[0].Error()
	}
	return fmt.Sprintf("%v (and %d more)", e.Errs[0], len(e.Errs)-1)
}

// Unwrap gives the single errors.
func (e *UnsupportedError) Unwrap() []error { return e.Errs }
