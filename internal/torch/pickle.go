package torch

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"unicode/utf8"

	"whit/tensor"
)

// The machine's values: nil, bool, int64, float64, string, tuple, *list, *dict, global,
// *storage and *view.
type (
	mark   struct{}
	tuple  []any
	list   struct{ items []any }
	global struct{ module, name string }
	dict   struct {
		keys []any
		at   map[any]any
	}
	// storage is a run of elements somewhere in the file.
	storage struct {
		key   string
		dtype tensor.DType
		n     int64
		off   int64 // in the file; -1: not known yet
	}
	// view is a tensor before its data are read.
	view struct {
		of            *storage
		at            int64
		shape, stride []int64
	}
)

func newDict() *dict { return &dict{at: map[any]any{}} }

func (d *dict) set(k, v any) error {
	switch k.(type) {
	case string, int64, bool:
	default:
		return fmt.Errorf("%w: a dict's key is neither text nor a number", ErrCorrupt)
	}
	if _, ok := d.at[k]; !ok {
		d.keys = append(d.keys, k)
	}
	d.at[k] = v
	return nil
}

func (g global) String() string { return g.module + "." + g.name }

// storages are the classes that persistent ids may name.
var storages = map[global]tensor.DType{
	{"torch", "DoubleStorage"}: tensor.Float64, {"torch", "FloatStorage"}: tensor.Float32,
	{"torch", "HalfStorage"}: tensor.Float16, {"torch", "BFloat16Storage"}: tensor.BFloat16,
	{"torch", "LongStorage"}: tensor.Int64, {"torch", "IntStorage"}: tensor.Int32,
	{"torch", "ShortStorage"}: tensor.Int16, {"torch", "CharStorage"}: tensor.Int8,
	{"torch", "ByteStorage"}: tensor.Uint8, {"torch", "BoolStorage"}: tensor.Bool,
}

var (
	orderedDict = global{"collections", "OrderedDict"}
	rebuild     = global{"torch._utils", "_rebuild_tensor_v2"}
)

// Limits of one pickle. Every value costs at least one byte of it.
const (
	maxPickle = 64 << 20 // bytes
	maxText   = 1 << 20  // bytes of one text
)

// machine runs pickles.
type machine struct {
	r        *bufio.Reader
	left     int64 // bytes that may still be read
	read     int64
	stack    []any
	memo     map[uint32]any
	storages map[string]*storage
}

// run executes one pickle, up to its STOP, and returns its value.
func (m *machine) run() (any, error) {
	m.stack, m.memo, m.left = m.stack[:0], map[uint32]any{}, min(m.left, maxPickle)
	for {
		op, err := m.byte()
		if err != nil {
			return nil, err
		}
		if op == '.' {
			v, err := m.pop()
			if err != nil {
				return nil, err
			}
			if len(m.stack) > 0 {
				return nil, fmt.Errorf("%w: values are left when the pickle ends", ErrCorrupt)
			}
			return v, nil
		}
		at := m.read
		if err := m.step(op); err != nil {
			return nil, fmt.Errorf("byte %d of the pickle: %w", at-1, err)
		}
	}
}

func (m *machine) bytes(n int64) ([]byte, error) {
	if n < 0 || n > m.left {
		return nil, fmt.Errorf("%w: %d bytes wanted, %d there", ErrCorrupt, n, m.left)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(m.r, b); err != nil {
		return nil, fmt.Errorf("%w: the file ends early", ErrCorrupt)
	}
	m.left -= n
	m.read += n
	return b, nil
}

func (m *machine) byte() (byte, error) {
	if m.left < 1 {
		return 0, fmt.Errorf("%w: the pickle does not end", ErrCorrupt)
	}
	b, err := m.r.ReadByte()
	if err != nil {
		return 0, fmt.Errorf("%w: the file ends early", ErrCorrupt)
	}
	m.left--
	m.read++
	return b, nil
}

// uint reads n bytes, little endian.
func (m *machine) uint(n int) (uint64, error) {
	b, err := m.bytes(int64(n))
	if err != nil {
		return 0, err
	}
	var x [8]byte
	copy(x[:], b)
	return binary.LittleEndian.Uint64(x[:]), nil
}

// text reads a length of n bytes and that many bytes of UTF-8.
func (m *machine) text(n int) (string, error) {
	k, err := m.uint(n)
	if err != nil {
		return "", err
	}
	if k > maxText {
		return "", fmt.Errorf("%w: a text of %d bytes, at most %d expected", ErrCorrupt, k, maxText)
	}
	b, err := m.bytes(int64(k))
	if err != nil {
		return "", err
	}
	if !utf8.Valid(b) {
		return "", fmt.Errorf("%w: text is not UTF-8", ErrCorrupt)
	}
	return string(b), nil
}

// line reads up to a line feed.
func (m *machine) line() (string, error) {
	var b []byte
	for len(b) < 256 {
		c, err := m.byte()
		if err != nil {
			return "", err
		}
		if c == '\n' {
			return string(b), nil
		}
		b = append(b, c)
	}
	return "", fmt.Errorf("%w: a name of more than 256 bytes", ErrCorrupt)
}

func (m *machine) push(v any) { m.stack = append(m.stack, v) }

func (m *machine) pop() (any, error) {
	if len(m.stack) == 0 {
		return nil, fmt.Errorf("%w: the stack is empty", ErrCorrupt)
	}
	v := m.stack[len(m.stack)-1]
	if _, ok := v.(mark); ok {
		return nil, fmt.Errorf("%w: a mark where a value belongs", ErrCorrupt)
	}
	m.stack[len(m.stack)-1] = nil
	m.stack = m.stack[:len(m.stack)-1]
	return v, nil
}

// since takes the values after the last mark, and the mark.
func (m *machine) since() ([]any, error) {
	for i := len(m.stack) - 1; i >= 0; i-- {
		if _, ok := m.stack[i].(mark); ok {
			v := append([]any(nil), m.stack[i+1:]...)
			clear(m.stack[i:])
			m.stack = m.stack[:i]
			return v, nil
		}
	}
	return nil, fmt.Errorf("%w: no mark on the stack", ErrCorrupt)
}

func (m *machine) take(n int) ([]any, error) {
	v := make([]any, n)
	for i := n - 1; i >= 0; i-- {
		var err error
		if v[i], err = m.pop(); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// top is the value on top of the stack, which stays.
func (m *machine) top() (any, error) {
	v, err := m.pop()
	if err == nil {
		m.push(v)
	}
	return v, err
}

func (m *machine) put(i uint64) error {
	v, err := m.top()
	if err == nil {
		m.memo[uint32(i)] = v
	}
	return err
}

func (m *machine) get(i uint64) error {
	v, ok := m.memo[uint32(i)]
	if !ok {
		return fmt.Errorf("%w: nothing was remembered as %d", ErrCorrupt, i)
	}
	m.push(v)
	return nil
}

// step executes the instruction op.
func (m *machine) step(op byte) error {
	number := func(n int) (uint64, error) { return m.uint(n) }
	switch op {
	case 0x80: // PROTO
		v, err := number(1)
		if err == nil && v > 5 {
			err = fmt.Errorf("%w: pickle protocol %d", ErrCorrupt, v)
		}
		return err
	case 0x95: // FRAME: its length does not matter here
		_, err := number(8)
		return err
	case '(':
		m.push(mark{})
	case '0': // POP
		_, err := m.pop()
		return err
	case '1': // POP_MARK
		_, err := m.since()
		return err
	case '2': // DUP
		v, err := m.top()
		if err == nil {
			m.push(v)
		}
		return err
	case 'N':
		m.push(nil)
	case 0x88, 0x89: // NEWTRUE, NEWFALSE
		m.push(op == 0x88)
	case 'K', 'M', 'J': // BININT1, BININT2, BININT
		v, err := number(map[byte]int{'K': 1, 'M': 2, 'J': 4}[op])
		if op == 'J' {
			v = uint64(int64(int32(uint32(v))))
		}
		m.push(int64(v))
		return err
	case 0x8a: // LONG1: little endian, two's complement
		n, err := number(1)
		if err != nil {
			return err
		}
		if n > 8 {
			return fmt.Errorf("%w: an integer of %d bytes", ErrCorrupt, n)
		}
		v, err := number(int(n))
		if n > 0 && n < 8 && v>>(8*n-1) == 1 {
			v |= math.MaxUint64 << (8 * n)
		}
		m.push(int64(v))
		return err
	case 'G': // BINFLOAT, big endian
		b, err := m.bytes(8)
		if err == nil {
			m.push(math.Float64frombits(binary.BigEndian.Uint64(b)))
		}
		return err
	case 'X', 'T', 0x8c, 'U': // BINUNICODE, BINSTRING, SHORT_BINUNICODE, SHORT_BINSTRING
		n := 1
		if op == 'X' || op == 'T' {
			n = 4
		}
		s, err := m.text(n)
		m.push(s)
		return err
	case '}':
		m.push(newDict())
	case ']':
		m.push(&list{})
	case ')':
		m.push(tuple{})
	case 't':
		v, err := m.since()
		m.push(tuple(v))
		return err
	case 0x85, 0x86, 0x87: // TUPLE1 to TUPLE3
		v, err := m.take(int(op - 0x84))
		m.push(tuple(v))
		return err
	case 's', 'u': // SETITEM, SETITEMS
		v, err := m.items(op == 's', 2)
		if err != nil {
			return err
		}
		d, err := m.top()
		if err != nil {
			return err
		}
		to, ok := d.(*dict)
		if !ok || len(v)%2 != 0 {
			return fmt.Errorf("%w: items for what is no dict", ErrCorrupt)
		}
		for i := 0; i < len(v); i += 2 {
			if err := to.set(v[i], v[i+1]); err != nil {
				return err
			}
		}
	case 'a', 'e': // APPEND, APPENDS
		v, err := m.items(op == 'a', 1)
		if err != nil {
			return err
		}
		l, err := m.top()
		if err != nil {
			return err
		}
		to, ok := l.(*list)
		if !ok {
			return fmt.Errorf("%w: items for what is no list", ErrCorrupt)
		}
		to.items = append(to.items, v...)
	case 'q', 'r': // BINPUT, LONG_BINPUT
		v, err := number(map[byte]int{'q': 1, 'r': 4}[op])
		if err != nil {
			return err
		}
		return m.put(v)
	case 0x94: // MEMOIZE
		return m.put(uint64(len(m.memo)))
	case 'h', 'j': // BINGET, LONG_BINGET
		v, err := number(map[byte]int{'h': 1, 'j': 4}[op])
		if err != nil {
			return err
		}
		return m.get(v)
	case 'c': // GLOBAL
		var g global
		var err error
		if g.module, err = m.line(); err == nil {
			g.name, err = m.line()
		}
		if err != nil {
			return err
		}
		return m.global(g)
	case 0x93: // STACK_GLOBAL
		v, err := m.take(2)
		if err != nil {
			return err
		}
		module, ok := v[0].(string)
		name, ok2 := v[1].(string)
		if !ok || !ok2 {
			return fmt.Errorf("%w: a global's name is no text", ErrCorrupt)
		}
		return m.global(global{module, name})
	case 'R': // REDUCE: call a function
		v, err := m.take(2)
		if err != nil {
			return err
		}
		return m.call(v[0], v[1])
	case 'b': // BUILD: attributes of an OrderedDict, which say nothing about tensors
		v, err := m.take(1)
		if err != nil {
			return err
		}
		to, err := m.top()
		if err != nil {
			return err
		}
		_, ok := to.(*dict)
		if _, state := v[0].(*dict); !ok || !state {
			return fmt.Errorf("%w: attributes for what is no dict", ErrCorrupt)
		}
	case 'Q': // BINPERSID
		v, err := m.pop()
		if err != nil {
			return err
		}
		s, err := m.persistent(v)
		m.push(s)
		return err
	default:
		return fmt.Errorf("%w: the pickle instruction 0x%02x is not allowed", ErrRefused, op)
	}
	return nil
}

// items are what SETITEM(S) and APPEND(S) take: n values, or all since the mark.
func (m *machine) items(one bool, n int) ([]any, error) {
	if one {
		return m.take(n)
	}
	return m.since()
}

// global pushes a name, if it is one of the few.
func (m *machine) global(g global) error {
	if _, ok := storages[g]; !ok && g != orderedDict && g != rebuild {
		return fmt.Errorf("%w: the pickle names %q, which is not allowed", ErrRefused, clip(g.String()))
	}
	m.push(g)
	return nil
}

// call is collections.OrderedDict() or torch._utils._rebuild_tensor_v2(storage, offset,
// size, stride, requires_grad, hooks[, metadata]).
func (m *machine) call(f, args any) error {
	g, _ := f.(global)
	a, ok := args.(tuple)
	switch {
	case g == orderedDict && ok && len(a) == 0:
		m.push(newDict())
		return nil
	case g == rebuild && ok && (len(a) == 6 || len(a) == 7):
		s, ok := a[0].(*storage)
		at, ok2 := a[1].(int64)
		size, ok3 := ints(a[2])
		stride, ok4 := ints(a[3])
		if !ok || !ok2 || !ok3 || !ok4 || len(size) != len(stride) {
			return fmt.Errorf("%w: a tensor's storage, offset, size or stride", ErrCorrupt)
		}
		m.push(&view{of: s, at: at, shape: size, stride: stride})
		return nil
	case g == orderedDict || g == rebuild:
		return fmt.Errorf("%w: unexpected arguments of %s", ErrCorrupt, g)
	}
	return fmt.Errorf("%w: a call of what is no function", ErrRefused)
}

func ints(v any) ([]int64, bool) {
	t, ok := v.(tuple)
	if !ok || len(t) > tensor.MaxRank {
		return nil, false
	}
	out := make([]int64, len(t))
	for i, x := range t {
		if out[i], ok = x.(int64); !ok {
			return nil, false
		}
	}
	return out, true
}

// persistent is the storage of ("storage", class, key, device, elements[, view]).
func (m *machine) persistent(v any) (*storage, error) {
	t, ok := v.(tuple)
	if !ok || len(t) < 5 || len(t) > 6 || t[0] != "storage" {
		return nil, fmt.Errorf("%w: a persistent id that is no storage", ErrRefused)
	}
	class, ok := t[1].(global)
	d, ok2 := storages[class]
	key, ok3 := t[2].(string)
	n, ok4 := t[4].(int64)
	if !ok || !ok2 || !ok3 || !ok4 || n < 0 {
		return nil, fmt.Errorf("%w: a storage's class, key or size", ErrCorrupt)
	}
	if len(t) == 6 && t[5] != nil {
		return nil, fmt.Errorf("%w: a storage that is part of another", ErrRefused)
	}
	if s := m.storages[key]; s != nil {
		if s.dtype != d || s.n != n {
			return nil, fmt.Errorf("%w: storage %q has two types or sizes", ErrCorrupt, clip(key))
		}
		return s, nil
	}
	s := &storage{key: key, dtype: d, n: n, off: -1}
	m.storages[key] = s
	return s, nil
}

// clip shortens text from outside for a message.
func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "..."
	}
	return s
}
