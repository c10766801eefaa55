// Command written prunes and quantises networks, and writes them as ONNX with what whit makes of them, so that another
// runtime can be compared:
//
//	go run ./bench/written -out DIR MODEL.onnx ...
//
// Of every model it writes, into DIR, NAME.channels.onnx, a third of whose channels are gone, and NAME.int8.onnx, quantised
// to 8 bits (QDQ), both calibrated on seeded noise, and for each an .npz: the input x and the outputs of whit's engine on the
// file as it was written. Batch 1; symbolic dimensions count as -size. bench/written/run.sh compares them with ONNX Runtime.
package main

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"whit/compress/method"
	"whit/compress/search"
	"whit/graph"
	"whit/internal/safefile"
	"whit/onnx"
	"whit/pass"
	"whit/plan"
	"whit/tensor"
	"whit/zoo"
)

var (
	out  = flag.String("out", "", "folder for the files")
	arch = flag.String("zoo", "", "write this architecture of the zoo, untrained, as NAME.onnx, and no more")
	size = flag.Int("size", 64, "what open dimensions of the input are taken for")
)

// kinds are what is made of every model.
var kinds = []struct {
	name string
	step method.Step
}{
	{"channels", method.Step{Method: "channels", Set: map[string]any{"sparsity": method.Uniform(0.3)}}},
	{"int8", method.Step{Method: "activations", Set: map[string]any{"images": samples}}},
}

const samples = 8

func main() {
	flag.Parse()
	if *out == "" || flag.NArg() == 0 && *arch == "" {
		flag.Usage()
		os.Exit(2)
	}
	if *arch != "" {
		if err := build(*arch); err != nil {
			fmt.Fprintln(os.Stderr, "written:", err)
			os.Exit(1)
		}
		return
	}
	for _, name := range flag.Args() {
		if err := write(context.Background(), name); err != nil {
			fmt.Fprintln(os.Stderr, "written:", name+":", err)
			os.Exit(1)
		}
	}
}

func build(name string) error {
	g, err := zoo.Build(name, 1)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(*out, 0o755); err != nil {
		return err
	}
	return onnx.WriteFile(filepath.Join(*out, name+".onnx"), g)
}

func write(ctx context.Context, name string) error {
	g, err := onnx.ReadFile(name)
	if err != nil {
		return err
	}
	if len(g.Inputs) != 1 {
		return fmt.Errorf("%d inputs, want one", len(g.Inputs))
	}
	var shape []int
	for i, d := range g.Inputs[0].Decl.Dims {
		switch {
		case i == 0:
		case d.Size > 0:
			shape = append(shape, d.Size)
		default:
			shape = append(shape, *size)
		}
	}
	set := noise{shape}
	base := strings.TrimSuffix(filepath.Base(name), ".onnx")
	for _, k := range kinds {
		c, _ := g.Clone()
		pass.FreeBatch(c, shape)
		s := &method.State{Graph: c, Float: g, Layers: method.FindLayers(c, ""), Train: set, Choice: method.First(set, 1), Metric: method.Cosine, NoFinetune: true}
		if err := s.Step(ctx, k.step, search.Methods); err != nil {
			return fmt.Errorf("%s: %w", k.name, err)
		}
		f, err := s.Freeze()
		if err != nil {
			return err
		}
		file := filepath.Join(*out, base+"."+k.name+".onnx")
		if err := onnx.WriteFile(file, f); err != nil {
			return err
		}
		if err := run(ctx, file, set); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		fmt.Println(file)
	}
	return nil
}

// run runs the written file and keeps what goes in and comes out beside it.
func run(ctx context.Context, file string, set noise) error {
	g, err := onnx.ReadFile(file)
	if err != nil {
		return err
	}
	p, err := plan.NewProgram(g, plan.Options{})
	if err != nil {
		return err
	}
	x := tensor.New(tensor.Float32, append([]int{1}, set.shape...)...)
	if err := set.Read(ctx, []int{samples}, tensor.Of[float32](x), nil); err != nil {
		return err
	}
	in := g.Inputs[0].Name
	pl, err := p.Plan(map[string]tensor.Type{in: x.Type})
	if err != nil {
		return err
	}
	s, err := pl.NewSession()
	if err != nil {
		return err
	}
	copy(s.Input(in).Bytes(), x.Bytes())
	if err := s.Run(ctx); err != nil {
		return err
	}
	arrays := []tensor.Named{{Name: "x", T: x}}
	for _, o := range outputs(g) {
		arrays = append(arrays, tensor.Named{Name: "out_" + o, T: s.Output(o)})
	}
	return safefile.Write(strings.TrimSuffix(file, ".onnx")+".npz", func(w io.Writer) error { return tensor.WriteNPZ(w, arrays) })
}

func outputs(g *graph.Graph) (names []string) {
	for _, v := range g.Outputs {
		names = append(names, v.Name)
	}
	return names
}

// noise is seeded normal samples, of which none has a class.
type noise struct{ shape []int }

func (noise) Len() int       { return samples }
func (n noise) Shape() []int { return n.shape }
func (noise) Hash(i int) (h [32]byte) {
	binary.LittleEndian.PutUint64(h[:], uint64(i))
	return h
}

func (n noise) Read(_ context.Context, idx []int, x []float32, y []int32) error {
	k := tensor.Shape(n.shape).NumElements()
	for j, i := range idx {
		r := rand.New(rand.NewPCG(uint64(i), 7))
		for e := range k {
			x[j*k+e] = float32(r.NormFloat64())
		}
		if y != nil {
			y[j] = -1
		}
	}
	return nil
}
