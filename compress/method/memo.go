package method

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/gob"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"math"
	"os"
	"path/filepath"

	"whit/graph"
	"whit/internal/safefile"
)

// Memo keeps results of long computations in a folder, each under a hash of all
// that it depends on. A run that was killed is resumed by running it again: what
// it had finished is found here, so that the bytes are those of an undisturbed
// run. Entries are written whole or not at all.
type Memo struct {
	// Dir is the folder; it must exist.
	Dir string
	// Salt goes into every hash: the data, the seed, the version.
	Salt string
}

// Key is a hash being made.
type Key struct{ h hash.Hash }

// Key starts a hash about what; nil where m is nil.
func (m *Memo) Key(what string) *Key {
	if m == nil {
		return nil
	}
	k := &Key{sha256.New()}
	return k.Add(m.Salt, what)
}

// Add mixes values into the hash, by their %#v form with their type and length.
func (k *Key) Add(vs ...any) *Key {
	if k != nil {
		for _, v := range vs {
			s := fmt.Sprintf("%#v", v)
			fmt.Fprintf(k.h, "%T %d ", v, len(s))
			k.h.Write([]byte(s))
		}
	}
	return k
}

// Graph mixes in a graph's structure and data.
func (k *Key) Graph(g *graph.Graph) *Key {
	if k != nil {
		k.Add(g.String())
		for _, v := range g.Values() {
			if t := v.Tensor(); t != nil {
				k.Add(v.Name)
				k.h.Write(t.Bytes())
			}
		}
	}
	return k
}

// Held mixes in a mask and a codebook.
func (k *Key) Held(h *Held) *Key {
	if k == nil {
		return nil
	}
	k.Add(h.Mask == nil, len(h.Mask), h.Centroids == nil, len(h.Centroids), len(h.Index))
	var b []byte
	for _, m := range h.Mask {
		b = binary.LittleEndian.AppendUint64(b, m)
	}
	for _, c := range h.Centroids {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(c))
	}
	for _, i := range h.Index {
		b = binary.LittleEndian.AppendUint16(b, i)
	}
	k.h.Write(b)
	return k
}

// Sum is the hash so far, for keys that begin alike; "" where k is nil.
func (k *Key) Sum() string {
	if k == nil {
		return ""
	}
	return hex.EncodeToString(k.h.Sum(nil)[:16])
}

func (m *Memo) path(k *Key, ext string) string {
	return filepath.Join(m.Dir, k.Sum()+ext)
}

// Path is a file's name for k, for checkpoints; "" where m is nil.
func (m *Memo) Path(k *Key, ext string) string {
	if m == nil {
		return ""
	}
	return m.path(k, ext)
}

// Get reads the entry of k into v; false where there is none, or a damaged one.
func (m *Memo) Get(k *Key, v any) bool {
	if m == nil {
		return false
	}
	b, err := os.ReadFile(m.path(k, ".memo"))
	if err != nil || len(b) < sha256.Size {
		return false
	}
	body := b[sha256.Size:]
	if sum := sha256.Sum256(body); !bytes.Equal(sum[:], b[:sha256.Size]) {
		return false
	}
	return gob.NewDecoder(bytes.NewReader(body)).Decode(v) == nil
}

// Put keeps v as the entry of k.
func (m *Memo) Put(k *Key, v any) error {
	if m == nil {
		return nil
	}
	var buf bytes.Buffer
	if err := gob.NewEncoder(&buf).Encode(v); err != nil {
		return fmt.Errorf("work state: %w", err)
	}
	sum := sha256.Sum256(buf.Bytes())
	return safefile.Write(m.path(k, ".memo"), func(w io.Writer) error {
		if _, err := w.Write(sum[:]); err != nil {
			return err
		}
		_, err := w.Write(buf.Bytes())
		return err
	})
}
