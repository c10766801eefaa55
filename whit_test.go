package whit_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"log"
	"path/filepath"
	"sync"
	"testing"

	"whit"
	"whit/internal/modelfile"
	"whit/onnx"
	"whit/tensor"
	"whit/zoo"
)

// model writes a seeded LeNet-300-100 with its card and gives its path.
func model(t testing.TB, name string) string {
	t.Helper()
	g, err := zoo.Build("lenet300", 1)
	if err != nil {
		t.Fatal(err)
	}
	a, err := zoo.Find("lenet300")
	if err != nil {
		t.Fatal(err)
	}
	c, err := modelfile.ParseCard(a.Card)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), name)
	if _, err := modelfile.Save(path, g, c); err != nil {
		t.Fatal(err)
	}
	return path
}

func input(n int) *tensor.Tensor {
	x := tensor.New(tensor.Float32, n, 1, 28, 28)
	for i, s := 0, tensor.Of[float32](x); i < len(s); i++ {
		s[i] = float32(i%17) / 17
	}
	return x
}

func TestOnnxAndWhitAgree(t *testing.T) {
	var outs [][]float32
	for _, name := range []string{"m.onnx", "m.whit"} {
		m, err := whit.Open(model(t, name), whit.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		if m.Card().Task != "classify" || len(m.Card().Labels) != 10 {
			t.Errorf("%s: card %v", name, m.Card())
		}
		if in := m.Inputs(); len(in) != 1 || in[0].Name != "input" || in[0].Dims[0].Size != -1 {
			t.Errorf("%s: inputs %+v", name, in)
		}
		out, err := m.Run(context.Background(), whit.Tensors{"input": input(3)})
		if err != nil {
			t.Fatal(err)
		}
		outs = append(outs, tensor.Of[float32](out["logits"]))
	}
	if !bytes.Equal(fmt.Append(nil, outs[0]), fmt.Append(nil, outs[1])) || len(outs[0]) != 30 {
		t.Errorf("%v\n%v", outs[0], outs[1])
	}
}

func TestSession(t *testing.T) {
	m, err := whit.Open(model(t, "m.onnx"), whit.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	want, err := m.Run(context.Background(), whit.Tensors{"input": input(2)})
	if err != nil {
		t.Fatal(err)
	}
	s := m.NewSession()
	if x, err := s.Input("input"); err != nil || !x.Shape.Equal(tensor.Shape{1, 1, 28, 28}) {
		t.Fatalf("%v %v", x, err)
	}
	x, err := s.Input("input", 2, 1, 28, 28)
	if err != nil {
		t.Fatal(err)
	}
	copy(x.Bytes(), input(2).Bytes())
	ctx := context.Background()
	if n := testing.AllocsPerRun(5, func() {
		if err := s.Run(ctx); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a run", n)
	}
	y, err := s.Output("logits")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(y.Bytes(), want["logits"].Bytes()) {
		t.Error("a session answers differently")
	}
}

func TestManyRunsAtOnceAndClose(t *testing.T) {
	m, err := whit.Open(model(t, "m.whit"), whit.Options{})
	if err != nil {
		t.Fatal(err)
	}
	want, err := m.Run(context.Background(), whit.Tensors{"input": input(4)})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 5 {
				got, err := m.Run(context.Background(), whit.Tensors{"input": input(4)})
				if err != nil {
					t.Error(err)
				} else if !bytes.Equal(got["logits"].Bytes(), want["logits"].Bytes()) {
					t.Error("another answer")
				}
			}
		})
	}
	wg.Wait()
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if _, err := m.Run(context.Background(), whit.Tensors{"input": input(1)}); !errors.Is(err, whit.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestErrors(t *testing.T) {
	m, err := whit.Open(model(t, "m.onnx"), whit.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for _, c := range []struct {
		name string
		in   whit.Tensors
	}{
		{"missing", whit.Tensors{}},
		{"unknown", whit.Tensors{"input": input(1), "other": input(1)}},
		{"rank", whit.Tensors{"input": tensor.New(tensor.Float32, 1, 784)}},
		{"type", whit.Tensors{"input": tensor.New(tensor.Float64, 1, 1, 28, 28)}},
	} {
		if _, err := m.Run(context.Background(), c.in); !errors.Is(err, whit.ErrInput) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	junk := bytes.Repeat([]byte{0xff}, 100)
	if _, err := whit.Read(bytes.NewReader(junk), 100, whit.Options{}); !errors.Is(err, whit.ErrCorrupt) {
		t.Errorf("junk: %v", err)
	}
	if _, err := whit.Read(bytes.NewReader(nil), 0, whit.Options{}); err == nil {
		t.Error("an empty file is a model")
	}
	small, err := whit.Open(model(t, "m.onnx"), whit.Options{MaxMemory: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := small.Run(context.Background(), whit.Tensors{"input": input(1000)}); !errors.Is(err, whit.ErrTooLarge) {
		t.Errorf("over the limit: %v", err)
	}
}

func Example() {
	// A model in memory; Open takes a path.
	g, err := zoo.Build("lenet300", 1)
	if err != nil {
		log.Fatal(err)
	}
	var file bytes.Buffer
	if err := onnx.Write(&file, g); err != nil {
		log.Fatal(err)
	}
	m, err := whit.Read(bytes.NewReader(file.Bytes()), int64(file.Len()), whit.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	out, err := m.Run(context.Background(), whit.Tensors{"input": tensor.New(tensor.Float32, 1, 1, 28, 28)})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(out["logits"].Type)
	// Output: float32[1,10]
}

func TestPreprocess(t *testing.T) {
	m, err := whit.Open(model(t, "m.whit"), whit.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	img := image.NewGray(image.Rect(0, 0, 28, 28))
	img.SetGray(3, 2, color.Gray{255})
	x := tensor.New(tensor.Float32, 1, 1, 28, 28)
	if err := m.Preprocess(x, img); err != nil {
		t.Fatal(err)
	}
	s := tensor.Of[float32](x)
	if !(s[2*28+3] > s[0]) {
		t.Errorf("pixel %v, background %v", s[2*28+3], s[0])
	}
}
