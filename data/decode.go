package data

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"
	"golang.org/x/image/webp"

	"whit/card"
)

// Limits on one picture. A decoder takes at most about 16 bytes a pixel beside the
// file itself.
const (
	// MaxPixels is the default for the largest picture that is decoded: 64 Mi pixels.
	MaxPixels = 1 << 26
	// MaxImageBytes is the largest picture file that is read: 256 MiB.
	MaxImageBytes = 256 << 20
)

// extensions are the endings of files that a folder's scan takes for pictures.
var extensions = []string{".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}

func isImage(name string) bool {
	return slices.Contains(extensions, strings.ToLower(filepath.Ext(name)))
}

// DecodeImage reads a picture file: PNG, JPEG, TIFF, WebP or BMP, told by content. The
// result is a *card.Picture, which carries the EXIF orientation and is not turned by it.
// Pictures of more than MaxPixels are refused before they are decoded.
func DecodeImage(file string) (image.Image, error) {
	b, err := readImageFile(file)
	if err != nil {
		return nil, err
	}
	p, err := Decode(b, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Base(file), err)
	}
	return p, nil
}

func readImageFile(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a regular file", filepath.Base(file))
	}
	if st.Size() > MaxImageBytes {
		return nil, fmt.Errorf("%s: %w: %d bytes, at most %d", filepath.Base(file), ErrTooLarge, st.Size(), MaxImageBytes)
	}
	b := make([]byte, st.Size())
	if _, err := io.ReadFull(f, b); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Base(file), err)
	}
	return b, nil
}

// Decode is DecodeImage of a file's bytes. maxPixels 0 means MaxPixels.
func Decode(b []byte, maxPixels int) (p *card.Picture, err error) {
	if maxPixels <= 0 {
		maxPixels = MaxPixels
	}
	defer func() { // the decoders are not ours: a panic on nonsense is nonsense
		if r := recover(); r != nil {
			p, err = nil, fmt.Errorf("%w: picture: %v", ErrCorrupt, r)
		}
	}()
	var config func(io.Reader) (image.Config, error)
	var decode func(io.Reader) (image.Image, error)
	var exif []byte
	switch {
	case bytes.HasPrefix(b, []byte("\x89PNG\r\n\x1a\n")):
		config, decode, exif = png.DecodeConfig, png.Decode, pngEXIF(b)
	case bytes.HasPrefix(b, []byte("\xff\xd8")):
		config, decode, exif = jpeg.DecodeConfig, jpeg.Decode, jpegEXIF(b)
	case bytes.HasPrefix(b, []byte("II*\x00")), bytes.HasPrefix(b, []byte("MM\x00*")):
		config, decode, exif = tiff.DecodeConfig, tiff.Decode, b
	case len(b) >= 12 && string(b[:4]) == "RIFF" && string(b[8:12]) == "WEBP":
		config, decode, exif = webp.DecodeConfig, webp.Decode, webpEXIF(b)
	case bytes.HasPrefix(b, []byte("BM")):
		config, decode = bmp.DecodeConfig, bmp.Decode
	default:
		return nil, fmt.Errorf("%w: not a PNG, JPEG, TIFF, WebP or BMP picture", ErrCorrupt)
	}
	c, err := config(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("%w: picture: %w", ErrCorrupt, err)
	}
	if c.Width < 1 || c.Height < 1 {
		return nil, fmt.Errorf("%w: picture of %d x %d pixels", ErrCorrupt, c.Width, c.Height)
	}
	if int64(c.Width) > int64(maxPixels)/int64(c.Height) {
		return nil, fmt.Errorf("%w: picture of %d x %d pixels, at most %d in all", ErrTooLarge, c.Width, c.Height, maxPixels)
	}
	img, err := decode(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("%w: picture: %w", ErrCorrupt, err)
	}
	p = &card.Picture{Image: img, Orientation: orientation(exif)}
	switch img.(type) {
	case *image.YCbCr, *image.NYCbCrA:
		p.Studio = string(b[:4]) == "RIFF"
	}
	return p, nil
}

// orientation is the tag 0x0112 of the first directory of a TIFF structure; 0 where
// there is none.
func orientation(b []byte) int {
	if len(b) < 8 {
		return 0
	}
	var e binary.ByteOrder = binary.LittleEndian
	switch string(b[:2]) {
	case "II":
	case "MM":
		e = binary.BigEndian
	default:
		return 0
	}
	off := int64(e.Uint32(b[4:]))
	if e.Uint16(b[2:]) != 42 || off+2 > int64(len(b)) {
		return 0
	}
	n := int64(e.Uint16(b[off:]))
	for i := range n {
		at := off + 2 + 12*i
		if at+12 > int64(len(b)) {
			return 0
		}
		if e.Uint16(b[at:]) != 0x0112 {
			continue
		}
		v := 0
		switch e.Uint16(b[at+2:]) {
		case 3: // short
			v = int(e.Uint16(b[at+8:]))
		case 4: // long
			v = int(min(e.Uint32(b[at+8:]), 9))
		}
		if v < 1 || v > 8 {
			return 0
		}
		return v
	}
	return 0
}

// jpegEXIF finds the TIFF structure of the APP1 segment before the picture itself.
func jpegEXIF(b []byte) []byte {
	for at := 2; at+4 <= len(b) && b[at] == 0xff; {
		m := b[at+1]
		if m == 0xff {
			at++
			continue
		}
		if m == 0xda || m == 0xd9 { // scan, end
			return nil
		}
		if m == 0x01 || m >= 0xd0 && m <= 0xd8 { // without a length
			at += 2
			continue
		}
		n := int(binary.BigEndian.Uint16(b[at+2:]))
		if n < 2 || at+2+n > len(b) {
			return nil
		}
		if s := b[at+4 : at+2+n]; m == 0xe1 && bytes.HasPrefix(s, []byte("Exif\x00\x00")) {
			return s[6:]
		}
		at += 2 + n
	}
	return nil
}

// pngEXIF is the chunk eXIf.
func pngEXIF(b []byte) []byte {
	for at := 8; at+12 <= len(b); {
		n := int64(binary.BigEndian.Uint32(b[at:]))
		if n > int64(len(b)-at-12) {
			return nil
		}
		switch string(b[at+4 : at+8]) {
		case "eXIf":
			return b[at+8 : at+8+int(n)]
		case "IEND":
			return nil
		}
		at += 12 + int(n)
	}
	return nil
}

// webpEXIF is the chunk EXIF, with or without the prefix that JPEG uses.
func webpEXIF(b []byte) []byte {
	for at := 12; at+8 <= len(b); {
		n := int64(binary.LittleEndian.Uint32(b[at+4:]))
		if n > int64(len(b)-at-8) {
			return nil
		}
		if string(b[at:at+4]) == "EXIF" {
			return bytes.TrimPrefix(b[at+8:at+8+int(n)], []byte("Exif\x00\x00"))
		}
		at += 8 + int(n+n&1)
	}
	return nil
}
