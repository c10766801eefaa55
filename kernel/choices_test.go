package kernel

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestParseChoices(t *testing.T) {
	long := strings.Repeat("x", maxChoice)
	for _, tt := range []struct {
		name, text string
		n          int // choices, -1: refused
	}{
		{"none", "choices 1\ncpu avx2+fma\n", 0},
		{"two", "choices 1\ncpu avx2+fma\nConv 1x2 = direct\nGemm 1 = sparse2\n", 2},
		{"empty", "", -1},
		{"another version", "choices 2\ncpu a\n", -1},
		{"no processor", "choices 1\nConv = direct\n", -1},
		{"no end of line", "choices 1\ncpu a\nConv = direct", -1},
		{"no candidate", "choices 1\ncpu a\nConv = \n", -1},
		{"no signature", "choices 1\ncpu a\n = direct\n", -1},
		{"not in order", "choices 1\ncpu a\nb = direct\na = direct\n", -1},
		{"twice", "choices 1\ncpu a\na = direct\na = direct\n", -1},
		{"two words", "choices 1\ncpu a\na = b c\n", -1},
		{"a long line", "choices 1\ncpu a\n" + long + " = direct\n", -1},
		{"too many", "choices 1\ncpu a\n" + strings.Repeat("a = b\n", maxChoices+1), -1},
		{"no text", "choices 1\ncpu \x01\n", -1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := ParseChoices([]byte(tt.text))
			if tt.n < 0 {
				if !errors.Is(err, ErrChoices) {
					t.Fatalf("%v, want ErrChoices", err)
				}
				return
			}
			if err != nil || len(c.Of) != tt.n {
				t.Fatalf("%v, %v, want %d", c, err, tt.n)
			}
			if got := c.Append(nil); string(got) != tt.text {
				t.Errorf("written again: %q", got)
			}
		})
	}
}

func FuzzParseChoices(f *testing.F) {
	f.Add([]byte("choices 1\ncpu avx2+fma\nConv 1x2 = direct\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := ParseChoices(b); err == nil && !bytes.Equal(c.Append(nil), b) {
			t.Errorf("%q is written again as %q", b, c.Append(nil))
		}
	})
}
