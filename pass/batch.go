package pass

import (
	"whit/graph"
	"whit/tensor"
)

// FreeBatch lets a model that was exported for a fixed number of images run on any: where a constant
// shape of a Reshape begins with that number, and so does its input's, it begins with 0 then, "as
// it is", and more than one image that was declared, also of outputs, is any number. shape is one sample's. What it does not understand stays.
func FreeBatch(g *graph.Graph, shape []int) {
	if len(g.Inputs) != 1 {
		return
	}
	d := g.Inputs[0].Decl
	if !d.Ranked || len(d.Dims) != len(shape)+1 || d.Dims[0].Size < 1 {
		return
	}
	n := d.Dims[0].Size
	c, _ := g.Clone()
	t := tensor.Type{DType: tensor.Float32, Shape: append(tensor.Shape{n}, shape...)}
	b, err := Bind(c, map[string]tensor.Type{g.Inputs[0].Name: t}, nil)
	if err != nil {
		return
	}
	types := map[string]tensor.Type{}
	for _, v := range b.Graph.Values() {
		types[v.Name] = v.Type
	}
	for _, r := range g.Nodes {
		s := r.Input(1)
		if r.Domain != "" || r.Op != "Reshape" || r.In[0] == nil || !s.IsConst() || s.Type.DType != tensor.Int64 || r.Int("allowzero", 0) != 0 {
			continue
		}
		to, from := tensor.Of[int64](s.Tensor()), types[r.In[0].Name].Shape
		if len(to) < 2 || len(from) < 1 || to[0] != int64(n) || from[0] != n {
			continue
		}
		to = append([]int64{0}, to[1:]...)
		r.In[1] = g.NewConst("", tensor.Ints(to...))
	}
	if n == 1 {
		return
	}
	d.Dims[0].Size = -1
	for _, o := range g.Outputs {
		if d := o.Decl.Dims; len(d) > 0 && d[0].Size == n {
			d[0].Size = -1
		}
	}
}
