package pass

import (
	"testing"

	"whit/graph"
	"whit/tensor"
)

func TestFreeBatch(t *testing.T) {
	for _, tc := range []struct {
		name  string
		batch int
		to    []int64
		want  int64
	}{
		{"fixed", 1, []int64{1, 2, 3, 4}, 0},
		{"open", -1, []int64{1, 2, 3, 4}, 1},
		{"free already", 1, []int64{0, 2, 3, 4}, 0},
		{"another axis first", 2, []int64{6, 8}, 6},
		{"the batch is joined", 2, []int64{2, 24}, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			g := graph.New("g")
			x := g.AddInput("x", tensor.Float32, tc.batch, 6, 4)
			g.Outputs = []*graph.Value{g.Add("", "Reshape", nil, x, g.NewConst("s", tensor.Ints(tc.to...)))}
			FreeBatch(g, []int{6, 4})
			if got := tensor.Of[int64](g.Nodes[0].In[1].Tensor())[0]; got != tc.want {
				t.Errorf("begins with %d, want %d", got, tc.want)
			}
			if got := x.Decl.Dims[0].Size; (got == -1) != (tc.batch != 1) {
				t.Errorf("%d images are declared", got)
			}
		})
	}
}
