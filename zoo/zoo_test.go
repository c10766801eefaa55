package zoo

import (
	"bytes"
	"fmt"
	"testing"

	"whit/graph"
)

func ExampleBuild() {
	g, err := Build("lenet300", 1)
	if err != nil {
		panic(err)
	}
	fmt.Println(g.Inputs[0].Name, g.Inputs[0].Decl, g.Outputs[0].Name, g.Outputs[0].Decl, len(g.Nodes))
	// Output: input float32[N,1,28,28] logits float32[N,10] 6
}

func TestArchitectures(t *testing.T) {
	for _, a := range All() {
		t.Run(a.Name, func(t *testing.T) {
			g, err := a.Build(1)
			if err != nil {
				t.Fatal(err)
			}
			h, err := Build(a.Name, 1)
			if err != nil {
				t.Fatal(err)
			}
			o, err := Build(a.Name, 2)
			if err != nil {
				t.Fatal(err)
			}
			params, differs := 0, false
			for _, v := range g.Values() {
				if v.Kind != graph.Const {
					continue
				}
				params += v.Data.Len()
				if !bytes.Equal(v.Data.Bytes(), h.Find(v.Name).Data.Bytes()) {
					t.Errorf("%s: the same seed gives other bytes", v.Name)
				}
				differs = differs || !bytes.Equal(v.Data.Bytes(), o.Find(v.Name).Data.Bytes())
			}
			if params != a.Params {
				t.Errorf("%d parameters, want %d", params, a.Params)
			}
			if !differs {
				t.Error("another seed gives the same weights")
			}
		})
	}
}

func TestUnknown(t *testing.T) {
	if _, err := Build("lenet9", 1); err == nil {
		t.Fatal("want an error")
	}
}
