package main

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"whit/graph"
	"whit/tensor"
)

// TestRunInputs: an array goes to the input of its name, or of the name that was given.
func TestRunInputs(t *testing.T) {
	dir := t.TempDir()
	in := func(s string) string { return filepath.Join(dir, s) }
	g := graph.New("two")
	a, b := g.AddInput("a", tensor.Float32, 2), g.AddInput("b=1", tensor.Float32, 2)
	for i, v := range []*graph.Value{a, b} {
		n := g.Add("", "Identity", nil, v)
		n.Name = "ya yb"[3*i:][:2]
		g.Outputs = append(g.Outputs, n)
	}
	save(t, g, in("two.onnx"))
	one := graph.New("one")
	x := one.Add("", "Identity", nil, one.AddInput("x", tensor.Float32, 2))
	x.Name = "y"
	one.Outputs = []*graph.Value{x}
	save(t, one, in("one.onnx"))
	npz := func(name string, arrays ...tensor.Named) {
		var buf bytes.Buffer
		if err := tensor.WriteNPZ(&buf, arrays); err != nil {
			t.Fatal(err)
		}
		put(t, in(name), buf.Bytes())
	}
	vec := func(name string, x float32) tensor.Named {
		return tensor.Named{Name: name, T: tensor.From([]float32{x, x}, 2)}
	}
	npz("b.npz", vec("b=1", 7))
	npz("both.npz", vec("a", 3), vec("b=1", 4), vec("c", 5))
	npz("other.npz", vec("p", 8), vec("q", 9))
	npz("x=2.npz", vec("p", 6))
	for _, c := range []struct {
		model, args string
		code        int
		want        string // in the outputs' JSON or on stderr
	}{
		{"two", "--input b.npz", exitUsage, `"a" is missing`},
		{"two", "--input b.npz --input a=both.npz", exitOK, `"ya" 3 "yb" 7`},
		{"two", "--input both.npz", exitOK, `"ya" 3 "yb" 4`},
		{"two", "--input both.npz --input b=1=x=2.npz", exitOK, `"ya" 3 "yb" 6`},
		{"two", "--input a=other.npz --seed-input", exitFailed, `none is called "a"`},
		{"two", "--input other.npz --seed-input", exitFailed, `"a", "b=1"`},
		{"two", "--input q=other.npz --seed-input", exitUsage, `no input "q"`},
		{"two", "--input x.npy", exitUsage, "NAME=FILE"},
		{"one", "--input x=2.npz", exitFailed, "2.npz"}, // x is the input
		{"one", "--input ./x=2.npz", exitOK, `"y" 6`},
		{"one", "--input b.npz", exitOK, `"y" 7`},
		{"one", "--input other.npz", exitFailed, "none of its 2 arrays"},
		{"one", "--seed-input --output y.npy", exitUsage, ".npz"},
	} {
		t.Run(c.model+" "+c.args, func(t *testing.T) {
			t.Chdir(dir)
			code, out, errs := contract(t, append([]string{"run", c.model + ".onnx", "--json"}, strings.Fields(c.args)...)...)
			got := errs
			if code == exitOK {
				var r struct{ Outputs []outputSummary }
				if err := json.Unmarshal([]byte(out), &r); err != nil {
					t.Fatal(err)
				}
				got = ""
				for _, o := range r.Outputs {
					b, _ := json.Marshal(o.Mean)
					got += `"` + o.Name + `" ` + string(b) + " "
				}
			}
			if code != c.code || !strings.Contains(got, c.want) {
				t.Errorf("exit %d, %q, want %d, %q", code, got, c.code, c.want)
			}
		})
	}
}

// TestRunSummary: outputs of every type are summed up, and what is no number is null.
func TestRunSummary(t *testing.T) {
	dir := t.TempDir()
	ints := `"min":3,"max":5,"mean":4`
	for to, want := range map[string]string{
		"int64": ints, "uint8": ints, "float16": ints, "float64": ints, "bool": `"min":1,"max":1,"mean":1`, "nan": `"min":null,"max":null,"mean":null`,
	} {
		t.Run(to, func(t *testing.T) {
			g := graph.New("g")
			x := g.AddInput("x", tensor.Float32, 1)
			v := g.Add("", "Concat", map[string]any{"axis": int64(0)}, x, g.NewConst("c", tensor.From([]float32{3, 5}, 2)))
			v = g.Add("", "Slice", nil, v, g.NewConst("from", tensor.Ints(1)), g.NewConst("to", tensor.Ints(3)))
			if to == "nan" {
				v = g.Add("", "Sqrt", nil, g.Add("", "Min", nil, v, g.NewConst("m", tensor.From([]float32{-1}, 1))))
			} else {
				dt := map[string]tensor.DType{"int64": tensor.Int64, "uint8": tensor.Uint8, "float16": tensor.Float16, "float64": tensor.Float64, "bool": tensor.Bool}[to]
				v = g.Add("", "Cast", map[string]any{"to": dt.ONNX()}, v)
			}
			v.Name = "y"
			g.Outputs = []*graph.Value{v}
			save(t, g, filepath.Join(dir, to+".onnx"))
			code, out, errs := contract(t, "run", filepath.Join(dir, to+".onnx"), "--seed-input", "--json")
			if code != exitOK || !strings.Contains(out, want) {
				t.Errorf("exit %d, %q, %q; want %s", code, out, errs, want)
			}
		})
	}
}
