package onnx

import (
	"bytes"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"whit/graph"
	"whit/tensor"
)

// The builders below make models of any opset, valid or not, field by field.

type field func(*rope)

func build1(fs ...field) *rope {
	r := &rope{}
	for _, f := range fs {
		f(r)
	}
	return r
}

func fStr(num protowire.Number, s string) field { return func(r *rope) { r.str(num, s) } }
func fInt(num protowire.Number, v int64) field  { return func(r *rope) { r.int(num, v) } }
func fMsg(num protowire.Number, fs ...field) field {
	return func(r *rope) { r.msg(num, build1(fs...)) }
}

// pNode is a node; in and out are lists of names.
func pNode(op string, in, out []string, attrs ...field) field {
	return func(r *rope) {
		n := &rope{}
		for _, s := range in {
			n.str(1, s)
		}
		for _, s := range out {
			n.str(2, s)
		}
		n.str(4, op)
		for _, a := range attrs {
			a(n)
		}
		r.msg(1, n)
	}
}

func pAttr(name string, v any) field {
	return func(r *rope) {
		e := &encoder{types: infos{}, opset: Opset}
		a, err := e.attr(name, v, &names{map[*graph.Value]string{}, map[*tensor.Tensor]string{}})
		if err != nil {
			panic(err)
		}
		r.msg(5, a)
	}
}

// pBody is a graph attribute made of raw fields of GraphProto.
func pBody(name string, fs ...field) field {
	return func(r *rope) { r.msg(5, build1(fStr(1, name), fMsg(6, fs...), fInt(20, attrGraph))) }
}

func pValue(num protowire.Number, name string, d tensor.DType, dims ...any) field {
	var shape []field
	for _, x := range dims {
		switch x := x.(type) {
		case int:
			shape = append(shape, fMsg(1, fInt(1, int64(x))))
		case string:
			shape = append(shape, fMsg(1, fStr(2, x)))
		}
	}
	return fMsg(num, fStr(1, name), fMsg(2, fMsg(1, fInt(1, d.ONNX()), fMsg(2, shape...))))
}

func pIn(name string, d tensor.DType, dims ...any) field  { return pValue(11, name, d, dims...) }
func pOut(name string, d tensor.DType, dims ...any) field { return pValue(12, name, d, dims...) }

func pInit(name string, t *tensor.Tensor) field {
	return func(r *rope) {
		p := tensorProtoOf(t)
		p.str(8, name)
		r.msg(5, p)
	}
}

func pModel(opset int, gr ...field) []byte { return pModelWith(opset, nil, gr...) }

func pModelWith(opset int, more []field, gr ...field) []byte {
	fs := []field{fInt(1, 8), fMsg(7, append([]field{fStr(2, "g")}, gr...)...), fMsg(8, fInt(2, int64(opset)))}
	return flat(build1(append(fs, more...)...))
}

// flat is the message's bytes.
func flat(r *rope) []byte {
	var b bytes.Buffer
	for _, c := range r.chunks {
		if c.value != nil {
			b.Write(c.value.Tensor().Bytes()[:c.size])
		} else {
			b.Write(c.bytes)
		}
	}
	return b.Bytes()
}

func mustRead(t *testing.T, b []byte) *graph.Graph {
	t.Helper()
	g, err := ReadBytes(b, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Verify(); err != nil {
		t.Fatal(err)
	}
	return g
}

func ss(s ...string) []string { return s }
