package entropy

import (
	"errors"
	"fmt"
	"math"
)

// ErrCorrupt is the root of errors about input that no coder of this package wrote.
var ErrCorrupt = errors.New("corrupt coded data")

// ErrUnsuited is returned by Append where a coder cannot hold the symbols (a
// Huffman table that would be too large); another coder can.
var ErrUnsuited = errors.New("symbols do not suit the coder")

// Dims says how a block's symbols are arranged: Rows output units, each C input
// channels of H x W, all at least 0. A matrix has H = W = 1.
type Dims struct{ Rows, C, H, W int }

// DimsOf arranges the dimensions of a tensor, outermost first: one dimension
// becomes rows of one symbol, those between the third and the last join H.
func DimsOf(shape []int) Dims {
	d := Dims{1, 1, 1, 1}
	for i, n := range shape {
		switch {
		case i == 0:
			d.Rows = n
		case i == 1:
			d.C = n
		case i == len(shape)-1:
			d.W = n
		default:
			d.H *= n
		}
	}
	return d
}

// Len is the number of symbols; -1 where it overflows or a dimension is negative.
func (d Dims) Len() int {
	n := 1
	for _, x := range [...]int{d.Rows, d.C, d.H, d.W} {
		if x < 0 || x > 0 && n > math.MaxInt/8/x {
			return -1
		}
		n *= x
	}
	return n
}

// Block is a tensor of symbols in row-major order. A symbol is a level or an index
// of a codebook; 0 should be what is most frequent, and near symbols alike.
type Block struct {
	Dims
	Syms []int32 // Dims.Len of them
	// Dependent says that symbols are levels of a dependent quantiser (see NextState): [Context] predicts them better then.
	Dependent bool
	// Coded is set by Append and Decode: the bytes of code that the block took, to
	// within a few; those of all blocks add up to the code, padding aside.
	Coded int
}

// Coder turns blocks into bytes and back, without loss. What the blocks' Dims are,
// and how many bytes the code has, must be known from elsewhere: a code holds
// neither. Coders have no state: they are safe for concurrent use.
type Coder interface {
	// Name is lower case: "raw", "huffman", "relative", "rans", "context".
	Name() string
	// Append appends the code of the blocks, in order, to dst.
	Append(dst []byte, blocks []Block) ([]byte, error)
	// Decode sets each block's Syms, in place where they have the right length, from its
	// Dims and src, which must be all of one code. It never panics, and allocates only after it has found that src can hold
	// so many symbols (see MaxSymbols); errors are ErrCorrupt.
	Decode(blocks []Block, src []byte) error
}

// symbolsPerByte bounds what a byte of code may stand for. Every coder keeps it,
// by padding where it would compress better.
const symbolsPerByte = 16384

// MaxSymbols is the largest number of symbols that n bytes may stand for, whatever
// the coder: 16384 (n + 8).
func MaxSymbols(n int) int {
	if n > math.MaxInt/symbolsPerByte-8 {
		return math.MaxInt
	}
	return symbolsPerByte * (n + 8)
}

// Coders lists all coders, weakest and fastest first.
func Coders() []Coder { return []Coder{Raw{}, Huffman{}, Relative{}, RANS{}, Context{}} }

// StreamLen is the number of symbols at which a stream ends with its row.
const StreamLen = 1 << 20

// Streams cuts blocks into lists that are to be coded each on its own, so that they can be
// decoded side by side: a list ends with the row at which it has StreamLen symbols or more. A block
// may lie in several lists, some of its rows in each; the parts' Syms are those of the
// block. The cuts depend on Dims only.
func Streams(blocks []Block) [][]Block {
	var all [][]Block
	var now []Block
	n := 0
	for _, b := range blocks {
		cols := 0
		if b.Rows > 0 {
			cols = b.Len() / b.Rows
		}
		for {
			rows := b.Rows
			if cols > 0 {
				rows = min(rows, (StreamLen-n+cols-1)/cols)
			}
			part := Block{Dims: Dims{rows, b.C, b.H, b.W}, Dependent: b.Dependent}
			if b.Syms != nil {
				part.Syms = b.Syms[: rows*cols : rows*cols]
				b.Syms = b.Syms[rows*cols:]
			}
			now = append(now, part)
			if n += rows * cols; n >= StreamLen {
				all, now, n = append(all, now), nil, 0
			}
			if b.Rows -= rows; b.Rows == 0 {
				break
			}
		}
	}
	if len(now) > 0 || len(all) == 0 {
		all = append(all, now)
	}
	return all
}

// check is the number of symbols of blocks that are about to be coded.
func check(blocks []Block) (n int, err error) {
	for i, b := range blocks {
		k := b.Len()
		if k < 0 || k != len(b.Syms) {
			return 0, fmt.Errorf("block %d: %d symbols for %+v", i, len(b.Syms), b.Dims)
		}
		if n += k; n < 0 {
			return 0, errors.New("too many symbols")
		}
	}
	return n, nil
}

// alloc sizes the blocks for decoding size bytes of code.
func alloc(blocks []Block, size int) error {
	left := MaxSymbols(size)
	for i := range blocks {
		n := blocks[i].Len()
		if n < 0 || n > left {
			return corrupt("%d bytes cannot hold block %d of %+v", size, i, blocks[i].Dims)
		}
		left -= n
	}
	for i := range blocks {
		if n := blocks[i].Len(); len(blocks[i].Syms) == n {
			clear(blocks[i].Syms)
		} else {
			blocks[i].Syms = make([]int32, n)
		}
	}
	return nil
}

// shares sets Coded of the blocks from where the code of each ends.
func shares(blocks []Block, ends []int) {
	at := 0
	for i := range blocks {
		blocks[i].Coded = max(0, ends[i]-at)
		at = max(at, ends[i])
	}
}

// pad appends zero bytes to code, which begins at start, until it may stand for n symbols.
func pad(code []byte, start, n int) []byte {
	for n > MaxSymbols(len(code)-start) {
		code = append(code, 0)
	}
	return code
}

func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrCorrupt, fmt.Sprintf(format, args...))
}
