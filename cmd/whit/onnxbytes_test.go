package main

import (
	"encoding/binary"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// The messages of ONNX, as bytes, so that files can lie about themselves.

type pb []byte

func (p pb) num(field int, v int64) pb {
	return protowire.AppendVarint(protowire.AppendTag(p, protowire.Number(field), protowire.VarintType), uint64(v))
}

func (p pb) msg(field int, parts ...[]byte) pb {
	var all []byte
	for _, b := range parts {
		all = append(all, b...)
	}
	return protowire.AppendBytes(protowire.AppendTag(p, protowire.Number(field), protowire.BytesType), all)
}

func (p pb) str(field int, s string) pb { return p.msg(field, []byte(s)) }

// pbModel is a ModelProto of one graph.
func pbModel(parts ...[]byte) []byte {
	return pb{}.num(1, 8).msg(8, pb{}.num(2, 17)).msg(7, append([][]byte{pb{}.str(2, "g")}, parts...)...)
}

// pbPort is an input (field 11) or output (12) of float32.
func pbPort(field int, name string, dims ...int64) []byte {
	var shape pb
	for _, d := range dims {
		if d < 0 {
			shape = shape.msg(1, pb{}.str(2, "N"))
		} else {
			shape = shape.msg(1, pb{}.num(1, d))
		}
	}
	return pb{}.msg(field, pb{}.str(1, name), pb{}.msg(2, pb{}.msg(1, pb{}.num(1, 1).msg(2, shape))))
}

// pbNode is a node of the graph; attrs are AttributeProtos.
func pbNode(op string, in, out []string, attrs ...[]byte) []byte {
	var n pb
	for _, s := range in {
		n = n.str(1, s)
	}
	for _, s := range out {
		n = n.str(2, s)
	}
	n = n.str(3, "the_"+op).str(4, op)
	for _, a := range attrs {
		n = n.msg(5, a)
	}
	return pb{}.msg(1, n)
}

func pbInts(name string, v ...int64) []byte {
	a := pb{}.str(1, name).num(20, 7)
	for _, x := range v {
		a = a.num(8, x)
	}
	return a
}

func pbInt(name string, v int64) []byte { return pb{}.str(1, name).num(20, 2).num(3, v) }

func pbGraph(name string, parts ...[]byte) []byte {
	return pb{}.str(1, name).num(20, 5).msg(6, append([][]byte{pb{}.str(2, "b")}, parts...)...)
}

// pbFloats is an initialiser.
func pbFloats(name string, dims []int64, v ...float32) []byte {
	var raw []byte
	for _, x := range v {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(x))
	}
	return pb{}.msg(5, pbDims(dims), pb{}.num(2, 1).str(8, name).msg(9, raw))
}

func pbDims(dims []int64) (p pb) {
	for _, d := range dims {
		p = p.num(1, d)
	}
	return p
}

// pbExternal is an initialiser of four floats in another file.
func pbExternal(name, location string) []byte {
	return pb{}.msg(5, pbDims([]int64{4}), pb{}.num(2, 1).str(8, name).
		msg(13, pb{}.str(1, "location").str(2, location)).
		msg(13, pb{}.str(1, "length").str(2, "16")).num(14, 1))
}
