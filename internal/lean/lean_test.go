package lean

import (
	"strings"
	"testing"
)

func TestAsked(t *testing.T) {
	for args, want := range map[string]bool{
		"":                             false,
		"bench m.onnx":                 false,
		"bench m.onnx --memory":        false,
		"bench m.onnx --memory full":   false,
		"bench m.onnx --memory low":    true,
		"bench --memory low m.onnx":    true,
		"bench --memory=low m.onnx":    true,
		"bench --memory=full low":      false,
		"run low --seed-input":         false,
		"run m.onnx --memory lower":    false,
		"run m.onnx --memory-low low ": false,
	} {
		if got := asked(strings.Fields(args)); got != want {
			t.Errorf("asked(%q) = %v", args, got)
		}
	}
}

// TestRelease: the program goes on after its pages are gone.
func TestRelease(t *testing.T) {
	for range 3 {
		Release()
		if s := strings.Repeat("ab", 3); s != "ababab" {
			t.Fatal(s)
		}
	}
}
