package format

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestDamagedStreams reads files of all kinds and coders that are cut, of which bits flip and bytes change, and that are spliced with
// each other, half of them with their checksums recomputed: each is refused with an error of the right kind, or says something whole.
// WHIT_LONG reads 50,000, WHIT_DAMAGE=FROM-TO those numbers (a million take half an hour of a core); a number is always the same damage.
func TestDamagedStreams(t *testing.T) {
	from, to := 0, 1000
	if os.Getenv("WHIT_LONG") != "" {
		to = 50_000
	}
	if s := os.Getenv("WHIT_DAMAGE"); s != "" {
		if _, err := fmt.Sscanf(s, "%d-%d", &from, &to); err != nil {
			t.Fatal(err)
		}
	}
	opt := ReadOptions{MaxBytes: 1 << 20, Threads: 1}
	model := func(b []byte) error {
		f, err := Read(bytes.NewReader(b), int64(len(b)), opt)
		if err == nil {
			err = f.Graph.Verify()
		}
		return err
	}
	type stream struct {
		name  string
		bytes []byte
		read  func(b []byte) error
	}
	var all []stream
	for name, f := range map[string]*File{"tiny": tiny(), "grouped": grouped(), "dependent": onPaths(), "lenet": lenet5(3, 5, 11)} {
		for _, o := range []Options{{Coder: "raw"}, {Coder: "huffman"}, {Coder: "relative"}, {Coder: "rans"}, {Coder: "context"}, {Coder: "context", Chunks: true},
			{Profile: Fast}, {Level: FastLevel, Chunks: true}} {
			b, _ := write(t, f, o)
			all = append(all, stream{fmt.Sprintf("%s %+v", name, o), b, model})
		}
	}
	for _, level := range []Level{Small, FastLevel} {
		var b bytes.Buffer
		if _, err := EncodeArrays(&b, someArrays(), ArrayOptions{Level: level}); err != nil {
			t.Fatal(err)
		}
		all = append(all, stream{fmt.Sprintf("arrays %d", level), b.Bytes(), func(b []byte) error {
			_, err := DecodeArrays(bytes.NewReader(b), int64(len(b)), opt)
			return err
		}})
	}
	for _, kind := range []byte{deltaModels, deltaChunks} {
		base, delta := smallDelta(t, kind)
		all = append(all, stream{fmt.Sprintf("delta %d", kind), delta, func(b []byte) error {
			_, err := DecodeDelta(base, b, opt)
			return err
		}})
	}
	// Maps have no order: numbers must mean the same damage.
	slices.SortFunc(all, func(a, b stream) int { return strings.Compare(a.name, b.name) })
	refusals := 0
	for i := from; i < to; i++ {
		r := rand.New(rand.NewPCG(uint64(i), 0xda))
		s := all[i/2%len(all)]
		d := bytes.Clone(s.bytes)
		switch r.IntN(4) {
		case 0:
			d = d[:r.IntN(len(d))]
		case 1:
			for range 1 + r.IntN(4) {
				d[r.IntN(len(d))] ^= 1 << r.IntN(8)
			}
		case 2:
			for range 1 + r.IntN(8) {
				d[r.IntN(len(d))] = byte(r.Uint32())
			}
		case 3:
			other := all[r.IntN(len(all))].bytes
			d = append(d[:r.IntN(len(d))], other[r.IntN(len(other)):]...)
		}
		if i%2 == 1 {
			if len(d) > len(magic)+1 && d[len(magic)+1] == fileDelta {
				if len(d) > 24 {
					d = resum(d)
				}
			} else if len(d) > len(magic)+1 {
				d = fix(d)
			}
		}
		if err := s.read(d); err != nil {
			if !refused(err) && !errors.Is(err, ErrBase) {
				t.Fatalf("number %d, %s: the error is %v", i, s.name, err)
			}
			refusals++
		}
	}
	t.Logf("%d damaged streams, %d of them refused", to-from, refusals)
}
