package tensor

import (
	"archive/zip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
)

// ErrNPY is the root of errors about .npy and .npz files.
var ErrNPY = errors.New("invalid npy data")

// maxNPYHeader bounds the header of an array, in bytes.
const maxNPYHeader = 1 << 16

// maxNPZArrays bounds the number of arrays in an .npz file.
const maxNPZArrays = 1 << 16

// maxDeflate bounds how much deflate expands: 1032 and a little for headers.
const maxDeflate = 1040

// maxNPYBytes bounds one array, and the arrays of one .npz file together, in bytes: 16 GiB.
const maxNPYBytes = 16 << 30

// Named is an array of an .npz file.
type Named struct {
	Name string
	T    *Tensor
}

var npyTypes = []struct {
	descr string // without the byte order
	d     DType
}{
	{"b1", Bool}, {"i1", Int8}, {"i2", Int16}, {"i4", Int32}, {"i8", Int64},
	{"u1", Uint8}, {"u2", Uint16}, {"u4", Uint32}, {"u8", Uint64},
	{"f2", Float16}, {"f4", Float32}, {"f8", Float64},
}

// ReadNPY reads one array in NumPy's format, versions 1 to 3, of bool, integer and
// float types, either byte order, either memory order. Bools become 0 or 1. It
// allocates at most about twice the data that r really holds.
func ReadNPY(r io.Reader) (*Tensor, error) { return readNPY(r, 0) }

// readNPY is ReadNPY that may allocate least bytes at once.
func readNPY(r io.Reader, least int64) (*Tensor, error) {
	var head [12]byte
	if _, err := io.ReadFull(r, head[:10]); err != nil || string(head[:6]) != "\x93NUMPY" {
		return nil, fmt.Errorf("%w: no npy magic", ErrNPY)
	}
	n := int(binary.LittleEndian.Uint16(head[8:]))
	if head[6] >= 2 {
		if _, err := io.ReadFull(r, head[10:]); err != nil {
			return nil, fmt.Errorf("%w: cut in the header", ErrNPY)
		}
		n = int(min(binary.LittleEndian.Uint32(head[8:]), maxNPYHeader+1))
	}
	if head[6] < 1 || head[6] > 3 || n > maxNPYHeader {
		return nil, fmt.Errorf("%w: version %d, header of %d bytes", ErrNPY, head[6], n)
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(r, text); err != nil {
		return nil, fmt.Errorf("%w: cut in the header", ErrNPY)
	}
	d, big, fortran, shape, err := parseNPYHeader(string(text))
	if err != nil {
		return nil, err
	}
	ty := Type{d, shape}
	if err := shape.Check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNPY, err)
	}
	if int64(ty.NumBytes()) > maxNPYBytes {
		return nil, fmt.Errorf("%w: %v is larger than %d bytes", ErrNPY, ty, int64(maxNPYBytes))
	}
	b, err := readGrowing(r, ty.NumBytes(), least)
	if err != nil {
		return nil, fmt.Errorf("%w: %v: %w", ErrNPY, ty, err)
	}
	size := d.Bits() / 8
	if big && size > 1 {
		for i := 0; i < len(b); i += size {
			slices.Reverse(b[i : i+size])
		}
	}
	if d == Bool {
		for i, x := range b {
			if x > 1 {
				b[i] = 1
			}
		}
	}
	if fortran && len(shape) > 1 {
		b = fromFortran(b, size, shape)
	}
	return View(ty, b)
}

// readGrowing reads n aligned bytes and allocates only as data arrive, beyond a MiB or least.
func readGrowing(r io.Reader, n int, least int64) ([]byte, error) {
	b := AlignedBytes(int(min(int64(n), max(1<<20, least))))
	for at := 0; ; {
		m, err := io.ReadFull(r, b[at:])
		at += m
		if err != nil {
			return nil, fmt.Errorf("want %d bytes of data, found %d", n, at)
		}
		if at == n {
			return b, nil
		}
		c := AlignedBytes(min(n, 2*len(b)))
		copy(c, b)
		b = c
	}
}

func fromFortran(b []byte, size int, shape Shape) []byte {
	out := AlignedBytes(len(b))
	st, step := make([]int, len(shape)), size
	for i := range shape {
		st[i] = step
		step *= shape[i]
	}
	at := make([]int, len(shape))
	for o := 0; o < len(out); o += size {
		src := 0
		for i, k := range at {
			src += k * st[i]
		}
		copy(out[o:o+size], b[src:])
		for i := len(at) - 1; i >= 0; i-- {
			if at[i]++; at[i] < shape[i] {
				break
			}
			at[i] = 0
		}
	}
	return out
}

// parseNPYHeader reads the Python dictionary of a header: keys descr,
// fortran_order and shape, in any order.
func parseNPYHeader(s string) (d DType, big, fortran bool, shape Shape, err error) {
	bad := func(what string) (DType, bool, bool, Shape, error) {
		return Invalid, false, false, nil, fmt.Errorf("%w: header: %s", ErrNPY, what)
	}
	field := func(key string) (string, bool) {
		for _, q := range []string{"'", `"`} {
			if _, rest, ok := strings.Cut(s, q+key+q); ok {
				if rest, ok = strings.CutPrefix(strings.TrimSpace(rest), ":"); ok {
					return strings.TrimSpace(rest), true
				}
			}
		}
		return "", false
	}
	descr, ok := field("descr")
	if !ok || len(descr) < 5 || descr[0] != '\'' && descr[0] != '"' {
		return bad("no simple descr")
	}
	descr, _, _ = strings.Cut(descr[1:], descr[:1])
	if len(descr) < 3 {
		return bad("descr " + strconv.Quote(descr))
	}
	order, code := descr[0], descr[1:]
	for _, t := range npyTypes {
		if t.descr == code {
			d = t.d
		}
	}
	if d == Invalid || !strings.ContainsRune("<>|=", rune(order)) {
		return bad("element type " + strconv.Quote(descr) + " is not supported: want bool, an integer or a float type")
	}
	fo, ok := field("fortran_order")
	if !ok {
		return bad("no fortran_order")
	}
	fortran = strings.HasPrefix(fo, "True")
	if !fortran && !strings.HasPrefix(fo, "False") {
		return bad("fortran_order is neither True nor False")
	}
	sh, ok := field("shape")
	if !ok || !strings.HasPrefix(sh, "(") {
		return bad("no shape")
	}
	sh, _, ok = strings.Cut(sh[1:], ")")
	if !ok {
		return bad("no end of the shape")
	}
	shape = Shape{}
	for _, f := range strings.Split(sh, ",") {
		f = strings.TrimSuffix(strings.TrimSpace(f), "L")
		if f == "" {
			continue
		}
		n, e := strconv.ParseUint(f, 10, 62)
		if e != nil || n > math.MaxInt {
			return bad("shape (" + sh + ")")
		}
		if shape = append(shape, int(n)); len(shape) > MaxRank {
			return bad("too many dimensions")
		}
	}
	return d, order == '>', fortran, shape, nil
}

// WriteNPY writes t in NumPy's format, version 1, little-endian, C order. Types
// that NumPy does not have are an error.
func WriteNPY(w io.Writer, t *Tensor) error {
	descr := ""
	for _, n := range npyTypes {
		if n.d == t.DType {
			descr = "<" + n.descr
			if t.DType.Bits() == 8 {
				descr = "|" + n.descr
			}
		}
	}
	if descr == "" {
		return fmt.Errorf("npy: element type %v is not one of NumPy's", t.DType)
	}
	var dims []string
	for _, d := range t.Shape {
		dims = append(dims, strconv.Itoa(d))
	}
	shape := strings.Join(dims, ", ")
	if len(dims) == 1 {
		shape += ","
	}
	h := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", descr, shape)
	h += strings.Repeat(" ", 63-(10+len(h))%64) + "\n"
	head := append([]byte("\x93NUMPY\x01\x00"), byte(len(h)), byte(len(h)>>8))
	if _, err := w.Write(append(head, h...)); err != nil {
		return err
	}
	_, err := w.Write(t.Bytes()[:t.NumBytes()])
	return err
}

// ReadNPZ reads all arrays of an .npz file of size bytes, stored or deflated, in the
// order in which the file lists them. It allocates at most about twice what the file
// really unpacks to, which is at most 1040 times size and 16 GiB.
func ReadNPZ(r io.ReaderAt, size int64) ([]Named, error) {
	z, err := zip.NewReader(r, size)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNPY, err)
	}
	if len(z.File) > maxNPZArrays {
		return nil, fmt.Errorf("%w: %d arrays, at most %d expected", ErrNPY, len(z.File), maxNPZArrays)
	}
	// Members may overlap, so that a small file declares much: together they must stay
	// within what deflate can make of the file.
	limit := uint64(maxNPYBytes)
	if size < maxNPYBytes/maxDeflate {
		limit = uint64(size) * maxDeflate
	}
	for _, f := range z.File {
		if f.UncompressedSize64 > limit {
			return nil, fmt.Errorf("%w: the arrays declare more bytes than %d can unpack to, or than %d", ErrNPY, size, int64(maxNPYBytes))
		}
		limit -= f.UncompressedSize64
	}
	var out []Named
	seen := map[string]bool{}
	for _, f := range z.File {
		name, ok := strings.CutSuffix(f.Name, ".npy")
		if !ok {
			return nil, fmt.Errorf("%w: member %q is not an array", ErrNPY, f.Name)
		}
		if seen[name] {
			return nil, fmt.Errorf("%w: array %q twice", ErrNPY, name)
		}
		seen[name] = true
		m, err := f.Open()
		if err != nil {
			return nil, fmt.Errorf("%w: %q: %w", ErrNPY, name, err)
		}
		least := int64(0)
		if f.Method == zip.Store {
			least = min(int64(f.CompressedSize64), size) // what the file cannot hold is not allocated
		}
		t, err := readNPY(io.LimitReader(m, int64(f.UncompressedSize64)), least)
		if err == nil {
			// The checksum is compared at the end of the member.
			var one [1]byte
			if n, e := m.Read(one[:]); n > 0 {
				err = fmt.Errorf("%w: bytes after the data", ErrNPY)
			} else if e != nil && e != io.EOF {
				err = fmt.Errorf("%w: %w", ErrNPY, e)
			}
		}
		m.Close()
		if err != nil {
			return nil, fmt.Errorf("array %q: %w", name, err)
		}
		out = append(out, Named{name, t})
	}
	return out, nil
}

// WriteNPZ writes the arrays in order, uncompressed, as NumPy's savez does. The
// same arrays give the same bytes.
func WriteNPZ(w io.Writer, arrays []Named) error {
	z := zip.NewWriter(w)
	for _, a := range arrays {
		f, err := z.CreateHeader(&zip.FileHeader{Name: a.Name + ".npy", Method: zip.Store})
		if err != nil {
			return err
		}
		if err := WriteNPY(f, a.T); err != nil {
			return fmt.Errorf("array %q: %w", a.Name, err)
		}
	}
	return z.Close()
}
