package data

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"whit/card"
)

// maxDepth bounds how deep a folder of images may nest, maxFiles how many it may hold.
const (
	maxDepth = 16
	maxFiles = 1 << 24
)

// folder is a dataset of picture files. Pixels are decoded at the first read and kept
// while there is room.
type folder struct {
	prep    *card.Prep
	shape   []int
	labels  []string
	files   []string
	dir     string  // that they lie in
	y       []int32 // nil: none
	opt     Options
	cache   []atomic.Pointer[[]uint8]
	left    *atomic.Int64 // bytes that the cache may still take, shared by train and test
	hashMu  sync.Mutex
	hash    [][32]byte
	hasHash []bool
}

func (f *folder) Len() int         { return len(f.files) }
func (f *folder) Shape() []int     { return slices.Clone(f.shape) }
func (f *folder) Labels() []string { return f.labels }

func (f *folder) setHash(i int, b []byte) [32]byte {
	h := sha256.Sum256(b)
	f.hashMu.Lock()
	f.hash[i], f.hasHash[i] = h, true
	f.hashMu.Unlock()
	return h
}

// Hash is that of the file's bytes; of its name where it cannot be read.
func (f *folder) Hash(i int) [32]byte {
	f.hashMu.Lock()
	h, ok := f.hash[i], f.hasHash[i]
	f.hashMu.Unlock()
	if ok {
		return h
	}
	b, err := readImageFile(f.files[i])
	if err != nil {
		return sha256.Sum256([]byte(f.files[i]))
	}
	return f.setHash(i, b)
}

// pixels are the sample's bytes as the card wants them; not to be written.
func (f *folder) pixels(i int) ([]uint8, error) {
	if p := f.cache[i].Load(); p != nil {
		return *p, nil
	}
	b, err := readImageFile(f.files[i])
	if err != nil {
		return nil, err
	}
	f.setHash(i, b)
	img, err := Decode(b, f.opt.MaxPixels)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.name(i), err)
	}
	px := make([]uint8, f.prep.Len())
	if err := f.prep.Pixels(px, img); err != nil {
		return nil, fmt.Errorf("%s: %w", f.name(i), err)
	}
	if n := int64(len(px)); f.left.Add(-n) >= 0 {
		f.cache[i].Store(&px)
	} else {
		f.left.Add(n)
	}
	return px, nil
}

// name is the file's name with its folder's: enough to find it.
func (f *folder) name(i int) string {
	p := f.files[i]
	return filepath.Join(filepath.Base(filepath.Dir(p)), filepath.Base(p))
}

func (f *folder) Read(ctx context.Context, idx []int, x []float32, y []int32) error {
	n := f.prep.Len()
	if err := checkRead(len(f.files), n, idx, x, y); err != nil {
		return err
	}
	var first atomic.Pointer[error]
	each(len(idx), func(k int) {
		if first.Load() != nil || ctx.Err() != nil {
			return
		}
		px, err := f.pixels(idx[k])
		if err != nil {
			first.CompareAndSwap(nil, &err)
			return
		}
		f.prep.Floats(x[k*n:(k+1)*n], px)
	})
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := first.Load(); err != nil {
		return *err
	}
	for k, i := range idx {
		if y != nil {
			y[k] = -1
			if f.y != nil {
				y[k] = f.y[i]
			}
		}
	}
	return nil
}

// warm decodes every picture once: what is broken shows at the start of the work, and
// the cache fills. Where the cache is full, pictures pass only if broken ones are to be
// skipped. It returns the broken ones, ascending.
func (f *folder) warm(ctx context.Context, done func()) (broken []int, err error) {
	errs := make([]error, len(f.files))
	each(len(f.files), func(i int) {
		if ctx.Err() != nil || !f.opt.SkipBroken && f.left.Load() < int64(f.prep.Len()) {
			return
		}
		_, errs[i] = f.pixels(i)
		done()
	})
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for i, err := range errs {
		switch {
		case err == nil:
		case f.opt.SkipBroken && (errors.Is(err, ErrCorrupt) || errors.Is(err, ErrTooLarge)):
			broken = append(broken, i)
		default:
			return nil, err
		}
	}
	return broken, nil
}

// mix puts the pictures in an order drawn from their names.
func (f *folder) mix() {
	order := mixed(len(f.files), func(i int) string { return "/" + f.rel(i) })
	files, y := f.files, f.y
	f.files, f.y = nil, nil
	for _, i := range order {
		f.files = append(f.files, files[i])
		if y != nil {
			f.y = append(f.y, y[i])
		}
	}
}

// drop removes the samples idx, ascending.
func (f *folder) drop(idx []int) *folder {
	if len(idx) == 0 {
		return f
	}
	g := &folder{dir: f.dir, prep: f.prep, shape: f.shape, labels: f.labels, opt: f.opt, left: f.left}
	keep := len(f.files) - len(idx)
	g.cache = make([]atomic.Pointer[[]uint8], keep)
	for i := range f.files {
		if _, bad := slices.BinarySearch(idx, i); bad {
			continue
		}
		g.cache[len(g.files)].Store(f.cache[i].Load())
		g.files = append(g.files, f.files[i])
		g.hash = append(g.hash, f.hash[i])
		g.hasHash = append(g.hasHash, f.hasHash[i])
		if f.y != nil {
			g.y = append(g.y, f.y[i])
		}
	}
	return g
}

// tree is the pictures of a folder, by sub-folder.
type tree struct {
	loose   []string            // directly in the folder
	classes []string            // sub-folders with pictures, sorted
	files   map[string][]string // of each, sorted
}

func (t tree) empty() bool { return len(t.loose) == 0 && len(t.classes) == 0 }

// scan lists the pictures of dir. Names that begin with a dot are passed over, and so
// are files that are no pictures by their ending. A link to a picture is followed
// inside of root only; links to folders are not followed.
func scan(root, dir string) (tree, error) {
	t := tree{files: map[string][]string{}}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return t, err
	}
	n := 0
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		p := filepath.Join(dir, e.Name())
		if e.IsDir() {
			var list []string
			if err := walk(root, p, 1, &list, &n); err != nil {
				return t, err
			}
			if len(list) > 0 {
				slices.Sort(list)
				t.classes = append(t.classes, e.Name())
				t.files[e.Name()] = list
			}
			continue
		}
		ok, err := picture(root, p, e)
		if err != nil {
			return t, err
		}
		if ok {
			t.loose = append(t.loose, p)
		}
	}
	slices.Sort(t.classes)
	slices.Sort(t.loose)
	return t, nil
}

// Loose reports whether the folder dir holds pictures outside of class folders, by
// their names: no picture is opened.
func Loose(dir string) (bool, error) {
	root, err := rooted(dir)
	if err != nil {
		return false, err
	}
	t, err := scan(root, root)
	return len(t.loose) > 0, err
}

// rooted is the folder that dir is, with no link on the way.
func rooted(dir string) (string, error) {
	root, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return "", err
	}
	return filepath.Abs(root)
}

func walk(root, dir string, depth int, list *[]string, n *int) error {
	if depth > maxDepth {
		return fmt.Errorf("%s: %w: folders nest deeper than %d", filepath.Base(dir), ErrTooLarge, maxDepth)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		p := filepath.Join(dir, e.Name())
		if e.IsDir() {
			if err := walk(root, p, depth+1, list, n); err != nil {
				return err
			}
			continue
		}
		ok, err := picture(root, p, e)
		if err != nil {
			return err
		}
		if ok {
			if *n++; *n > maxFiles {
				return fmt.Errorf("%s: %w: more than %d pictures", filepath.Base(root), ErrTooLarge, maxFiles)
			}
			*list = append(*list, p)
		}
	}
	return nil
}

// picture reports whether p is a picture file to take.
func picture(root, p string, e fs.DirEntry) (bool, error) {
	if !isImage(p) {
		return false, nil
	}
	if e.Type().IsRegular() {
		return true, nil
	}
	if e.Type()&fs.ModeSymlink == 0 {
		return false, nil
	}
	to, err := filepath.EvalSymlinks(p)
	if err != nil {
		return false, fmt.Errorf("%s: link: %w", e.Name(), err)
	}
	rel, err := filepath.Rel(root, to)
	if err != nil || rel == ".." || strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
		return false, fmt.Errorf("%s is a link that leads outside of %s: copy the file, or give the folder that it leads to", e.Name(), filepath.Base(root))
	}
	st, err := os.Stat(to)
	if err != nil {
		return false, err
	}
	return st.Mode().IsRegular(), nil
}

// Classes finds the class of each folder name: by label, else as an integer index,
// else in sorted order where the counts match. labels are the card's, nil unknown;
// classes is the number of the network's classes, below 1 unknown. The error shows
// both lists. names must be sorted. The result's labels are the card's, or made from
// the folders.
func Classes(names, labels []string, classes int) (index []int32, out []string, err error) {
	index = make([]int32, len(names))
	if classes < 1 {
		classes = len(labels)
	}
	// By label: as written, then without regard to case, spaces and underscores.
	for _, norm := range []func(string) string{func(s string) string { return s }, fold} {
		at := map[string]int32{}
		twice := false
		for i, l := range labels {
			_, dup := at[norm(l)]
			twice = twice || dup
			at[norm(l)] = int32(i)
		}
		used := map[int32]bool{}
		ok := len(labels) > 0 && !twice
		for i, n := range names {
			c, found := at[norm(n)]
			ok = ok && found && !used[c]
			used[c] = true
			index[i] = c
		}
		if ok {
			return index, labels, nil
		}
	}
	// Integers.
	ok, top := true, 0
	used := map[int]bool{}
	for i, n := range names {
		v, err := strconv.Atoi(n)
		if err != nil || v < 0 || v >= card.MaxLabels || n[0] == '+' || classes > 0 && v >= classes || used[v] {
			ok = false
			break
		}
		used[v] = true
		index[i] = int32(v)
		top = max(top, v)
	}
	if ok && len(names) > 0 {
		if len(labels) == 0 {
			labels = digits(max(classes, top+1))
		}
		return index, labels, nil
	}
	if len(names) > 0 && (classes == len(names) || classes < 1) {
		for i := range index {
			index[i] = int32(i)
		}
		if len(labels) == 0 {
			labels = slices.Clone(names)
		}
		return index, labels, nil
	}
	want := fmt.Sprintf("%d classes without names", classes)
	if len(labels) > 0 {
		want = fmt.Sprintf("the %d labels %s", len(labels), few(labels))
	}
	return nil, nil, fmt.Errorf("%w: the %d folders %s match neither %s, nor are they indices below %d; name the folders after the labels", ErrLabels, len(names), few(names), want, classes)
}

func fold(s string) string {
	return strings.NewReplacer(" ", "", "_", "", "-", "").Replace(strings.ToLower(s))
}

// few is a list for a message, cut after ten.
func few(s []string) string {
	var b strings.Builder
	b.WriteByte('[')
	for i, x := range s {
		if i == 10 {
			b.WriteString(" ...")
			break
		}
		if i > 0 {
			b.WriteByte(' ')
		}
		if r := []rune(x); len(r) > 40 {
			x = string(r[:40]) + "..."
		}
		b.WriteString(strconv.Quote(x))
	}
	b.WriteByte(']')
	return b.String()
}

// openFolder makes the datasets of a folder of pictures.
func openFolder(ctx context.Context, dir string, c *card.Card, in []int, opt Options) (Sets, error) {
	base := filepath.Base(dir)
	root, err := rooted(dir)
	if err != nil {
		return Sets{}, err
	}
	dirs := []string{root}
	split := isDir(filepath.Join(root, "train")) && isDir(filepath.Join(root, "test"))
	if split {
		dirs = []string{filepath.Join(root, "train"), filepath.Join(root, "test")}
	}
	trees := make([]tree, len(dirs))
	var names []string // of the classes of all parts
	for i, d := range dirs {
		if trees[i], err = scan(root, d); err != nil {
			return Sets{}, err
		}
		where := base
		if split {
			where = filepath.Join(base, filepath.Base(d))
		}
		switch t := trees[i]; {
		case t.empty():
			return Sets{}, fmt.Errorf("%s: no pictures (%s)", where, strings.Join(extensions, " "))
		case len(t.loose) > 0 && len(t.classes) > 0:
			return Sets{}, fmt.Errorf("%s: %w: pictures lie both beside and in sub-folders, for example %s and %s/; put them all into class folders, or none", where, ErrLabels, filepath.Base(t.loose[0]), t.classes[0])
		}
		names = append(names, trees[i].classes...)
	}
	if split && (len(trees[0].classes) > 0) != (len(trees[1].classes) > 0) {
		return Sets{}, fmt.Errorf("%s: %w: only one of train and test has class folders", base, ErrLabels)
	}
	if c == nil {
		c = &card.Card{}
	}
	shape, err := inputShape(c, in)
	if err != nil {
		return Sets{}, fmt.Errorf("%s: pictures need a model card: %w", base, err)
	}
	prep, err := c.Prepare(shape)
	if err != nil {
		if errors.Is(err, card.ErrMissing) {
			return Sets{}, fmt.Errorf("%s: %w; give --card FILE or --preprocess imagenet|unit|symmetric|raw", base, err)
		}
		return Sets{}, fmt.Errorf("%s: %w", base, err)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	class := map[string]int32{}
	var labels []string
	if len(names) > 0 {
		index, l, err := Classes(names, c.Labels, opt.Classes)
		if err != nil {
			return Sets{}, fmt.Errorf("%s: %w", base, err)
		}
		labels = l
		for i, n := range names {
			class[n] = index[i]
		}
	}
	var left atomic.Int64
	left.Store(opt.CacheBytes)
	out := make([]*folder, len(trees))
	total := 0
	for i, t := range trees {
		f := &folder{dir: dirs[i], prep: prep, shape: slices.Clone(shape), labels: labels, opt: opt, left: &left, files: t.loose}
		for _, n := range t.classes {
			for _, p := range t.files[n] {
				f.files = append(f.files, p)
				f.y = append(f.y, class[n])
			}
		}
		f.mix()
		f.cache = make([]atomic.Pointer[[]uint8], len(f.files))
		f.hash, f.hasHash = make([][32]byte, len(f.files)), make([]bool, len(f.files))
		out[i] = f
		total += len(f.files)
	}
	var s Sets
	var mu sync.Mutex
	done := 0
	for i, f := range out {
		broken, err := f.warm(ctx, func() {
			if opt.Progress != nil {
				mu.Lock()
				done++
				opt.Progress(done, total)
				mu.Unlock()
			}
		})
		if err != nil {
			return Sets{}, err
		}
		s.Skipped += len(broken)
		if out[i] = f.drop(broken); out[i].Len() == 0 {
			return Sets{}, fmt.Errorf("%s: %w: all %d pictures are broken", base, ErrCorrupt, len(broken))
		}
	}
	if split {
		s.Train, s.Test = out[0], out[1]
	} else {
		s.All = out[0]
	}
	return s, nil
}

func isDir(p string) bool {
	st, err := os.Stat(p)
	return err == nil && st.IsDir()
}
