package modelfile_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"whit/format"
	"whit/graph"
	"whit/internal/modelfile"
	"whit/tensor"
)

// TestOpenStored: large constants of a .whit that is not coded stay in the file where it is opened to be run; a
// file that is changed in place, or has been damaged, gives an error, one that is removed does not.
func TestOpenStored(t *testing.T) {
	g := graph.New("g")
	w := tensor.New(tensor.Float32, 512, 640)
	for i := range tensor.Of[float32](w) {
		tensor.Of[float32](w)[i] = float32(i)
	}
	g.Outputs = []*graph.Value{g.Add("", "MatMul", nil, g.AddInput("x", tensor.Float32, 1, 512), g.NewConst("w", w))}
	path := filepath.Join(t.TempDir(), "m.whit")
	write := func() {
		if _, err := modelfile.Save(path, g, nil, format.Options{Profile: format.Fast}); err != nil {
			t.Fatal(err)
		}
	}
	write()
	loaded, err := modelfile.Load(path, "")
	if err != nil {
		t.Fatal(err)
	}
	if loaded.Graph.Find("w").Data.IsStored() {
		t.Error("Load leaves a constant in the file")
	}
	open := func() *tensor.Tensor {
		f, err := modelfile.Open(path, "")
		if err != nil {
			t.Fatal(err)
		}
		return f.Graph.Find("w").Data
	}
	damage := func(at int64) error {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = f.WriteAt([]byte{0xff, 0xff}, at)
		return err
	}
	if x := open(); !x.IsStored() || !bytes.Equal(x.Bytes(), w.Bytes()) || x.Err() != nil {
		t.Errorf("stored %v, error %v, or other bytes", x.IsStored(), x.Err())
	}
	x := open()
	if err := damage(5000); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 1<<20); err != nil {
		t.Fatal(err)
	}
	if x.Bytes(); x.Err() == nil || !strings.Contains(x.Err().Error(), "m.whit has been changed") {
		t.Errorf("changed in place: %v", x.Err())
	}
	write()
	if err := damage(5000); err != nil {
		t.Fatal(err)
	}
	if x := open(); x.Bytes() == nil || !errors.Is(x.Err(), format.ErrCorrupt) {
		t.Errorf("damaged: %v", x.Err())
	}
	write()
	x = open()
	if err := os.Remove(path); err != nil {
		t.Skip(err) // where open files cannot be removed
	}
	if !bytes.Equal(x.Bytes(), w.Bytes()) || x.Err() != nil {
		t.Errorf("removed: %v", x.Err())
	}
}
