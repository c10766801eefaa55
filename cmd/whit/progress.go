package main

import (
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// bar shows progress on a terminal and is silent elsewhere. The zero value is silent.
type bar struct{ b *progressbar.ProgressBar }

// newBar makes a bar of total steps (-1: unknown) on w, if w is a terminal.
func newBar(w io.Writer, total int64, what string) bar {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return bar{}
	}
	return bar{progressbar.NewOptions64(total,
		progressbar.OptionSetWriter(f), progressbar.OptionSetDescription(what), progressbar.OptionSetWidth(24),
		progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionShowElapsedTimeOnFinish(),
		progressbar.OptionClearOnFinish(), progressbar.OptionSetPredictTime(true))}
}

func (b bar) set(n int64) {
	if b.b != nil {
		_ = b.b.Set64(n)
	}
}

func (b bar) describe(s string) {
	if b.b != nil {
		b.b.Describe(s)
	}
}

func (b bar) done() {
	if b.b != nil {
		_ = b.b.Finish()
	}
}
