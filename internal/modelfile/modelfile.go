package modelfile

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"whit/card"
	"whit/format"
	"whit/graph"
	"whit/internal/safefile"
	"whit/onnx"
)

// File is a model that has been read.
type File struct {
	Path    string
	Base    string // the path's last element
	Format  string // "onnx" or "whit"
	Bytes   int64  // of the file, and of an ONNX model's external data
	Graph   *graph.Graph
	Card    *card.Card // nil: none was found
	Choices []byte     // of kernels, that a .whit file fixes; nil: none
	// Sizes says where the bytes of a .whit file are; nil for ONNX.
	Sizes *format.Sizes
}

// Load reads the model at path. cardFlag is a card file or the name of a preset,
// "" for the card that the model has with it (in the file, then beside it).
func Load(path, cardFlag string) (*File, error) { return read(path, cardFlag, false) }

// Open is Load for a model that is to be run: constants of an ONNX model, and of a .whit file
// those that are not coded, may stay in the file until they are needed (onnx.OpenFile, format.ReadOptions.Stored).
// A file that is changed in place meanwhile is an error of their tensors.
func Open(path, cardFlag string) (*File, error) { return read(path, cardFlag, true) }

func read(path, cardFlag string, stored bool) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	keep := false // a file that something refers to is closed when nothing does
	defer func() {
		if !keep {
			f.Close()
		}
	}()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	base := filepath.Base(path)
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a regular file", base)
	}
	m := &File{Path: path, Base: base, Bytes: st.Size()}
	var own []byte
	if m.Format, err = sniff(f); err != nil {
		return nil, fmt.Errorf("%s: %w", base, err)
	}
	switch m.Format {
	case "whit":
		var r io.ReaderAt = f
		if stored {
			if r, err = safefile.KeepSame(f); err != nil {
				return nil, err
			}
		}
		w, err := format.Read(r, st.Size(), format.ReadOptions{Stored: stored})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", base, err)
		}
		keep = stored
		m.Graph, own, m.Sizes, m.Choices = w.Graph, w.Card, &w.Sizes, w.Choices
	default:
		readONNX := onnx.ReadFile
		if stored {
			readONNX = onnx.OpenFile
		}
		if m.Graph, err = readONNX(path); err != nil {
			return nil, err
		}
		own = []byte(m.Graph.Meta[card.MetaKey])
	}
	c, err := card.Load(card.Source{Flag: cardFlag, Own: own, Model: path, Meta: m.Graph.Meta})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", base, err)
	}
	if !c.IsZero() {
		m.Card = &c
	}
	return m, nil
}

// sniff tells the format from the first bytes.
func sniff(r io.ReaderAt) (string, error) {
	var b [8]byte
	if _, err := r.ReadAt(b[:], 0); err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	if format.IsWhit(b[:]) {
		return "whit", nil
	}
	return "onnx", nil
}

// Read is Load for a model behind a ReaderAt: no file beside it is looked at.
func Read(r io.ReaderAt, size int64) (*File, error) {
	m := &File{Bytes: size}
	var own []byte
	var err error
	if m.Format, err = sniff(r); err != nil {
		return nil, err
	}
	if m.Format == "whit" {
		w, err := format.Read(r, size)
		if err != nil {
			return nil, err
		}
		m.Graph, own, m.Sizes, m.Choices = w.Graph, w.Card, &w.Sizes, w.Choices
	} else {
		if m.Graph, err = onnx.Read(r, size, onnx.Options{}); err != nil {
			return nil, err
		}
		own = []byte(m.Graph.Meta[card.MetaKey])
	}
	c, err := card.Load(card.Source{Own: own, Meta: m.Graph.Meta})
	if err != nil {
		return nil, err
	}
	if !c.IsZero() {
		m.Card = &c
	}
	return m, nil
}

// Hash is the SHA-256 of the model's file, and of how many bytes it has with its external data.
func (m *File) Hash() (string, error) {
	f, err := os.Open(m.Path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	fmt.Fprint(h, m.Bytes)
	return hex.EncodeToString(h.Sum(nil)), nil
}

// CheckName refuses names of outputs whose ending does not say the format.
func CheckName(path string) error {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".onnx", ".whit":
		return nil
	}
	return fmt.Errorf("%s: a model's name ends in .onnx or .whit", filepath.Base(path))
}

// Save writes the model with its card (nil: none), whole or not at all, and
// returns the file's size. At most one Options is heeded; it is for a .whit.
func Save(path string, g *graph.Graph, c *card.Card, o ...format.Options) (int64, error) {
	return (&File{Graph: g, Card: c}).Save(path, o...)
}

// Save writes the model's graph and card, and to a .whit its choices of kernels.
func (m *File) Save(path string, o ...format.Options) (int64, error) {
	g, c := m.Graph, m.Card
	if err := CheckName(path); err != nil {
		return 0, err
	}
	var own []byte
	if c != nil {
		b, err := c.YAML()
		if err != nil {
			return 0, err
		}
		own = b
	}
	h, _ := g.Clone()
	delete(h.Meta, card.MetaKey)
	if strings.ToLower(filepath.Ext(path)) == ".whit" {
		var opt format.Options
		if len(o) > 0 {
			opt = o[0]
		}
		if _, err := format.WriteFile(path, &format.File{Graph: h, Card: own, Choices: m.Choices}, opt); err != nil {
			return 0, err
		}
	} else {
		if own != nil {
			if h.Meta == nil {
				h.Meta = map[string]string{}
			}
			h.Meta[card.MetaKey] = string(bytes.TrimSpace(own))
		}
		if err := onnx.WriteFile(path, h); err != nil {
			return 0, err
		}
	}
	st, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

// ParseCard reads a card that is part of the program.
func ParseCard(y string) (*card.Card, error) {
	c, err := card.Parse([]byte(y), nil)
	return &c, err
}
