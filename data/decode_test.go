package data

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// Pictures of 3 x 2 pixels, (200, 100, 50), written by Pillow.
var small = []struct {
	name, b64   string
	orientation int
}{
	{"webp lossless", "UklGRh4AAABXRUJQVlA4TBEAAAAvAkAAAAdQsiJXpv+BiOh/AAA=", 0},
	{"webp lossy", "UklGRjoAAABXRUJQVlA4IC4AAADwAQCdASoDAAIAAUAmJaACdLoB+AAEyAAA/q4X/zYEDND6YP/SbPE2eJs+OYAA", 0},
	{"webp with EXIF", "UklGRlIAAABXRUJQVlA4WAoAAAAIAAAAAgAAAQAAVlA4TBEAAAAvAkAAAAdQsiJXpv+BiOh/AABFWElGGgAAAE1NACoAAAAIAAEBEgADAAAAAQAGAAAAAAAA", 6},
	{"png with EXIF", "iVBORw0KGgoAAAANSUhEUgAAAAMAAAACCAIAAAASFvFNAAAAGmVYSWZNTQAqAAAACAABARIAAwAAAAEABgAAAAAAANZnS2kAAAAVSURBVHicYzyRYsTAwMDAwMDEAAMAGW4BYh6koXkAAAAASUVORK5CYII=", 6},
}

func TestDecodeSmall(t *testing.T) {
	for _, c := range small {
		t.Run(c.name, func(t *testing.T) {
			b, err := base64.StdEncoding.DecodeString(c.b64)
			if err != nil {
				t.Fatal(err)
			}
			p, err := Decode(b, 0)
			if err != nil {
				t.Fatal(err)
			}
			r, g, bl, _ := p.At(1, 1).RGBA()
			if s := p.Bounds().Size(); s.X != 3 || s.Y != 2 || p.Orientation != c.orientation || r>>8 < 190 || g>>8 > 110 || bl>>8 > 60 {
				t.Errorf("%v, orientation %d, %d %d %d", s, p.Orientation, r>>8, g>>8, bl>>8)
			}
			for n := range b { // cut anywhere: an error or a picture, no panic
				Decode(b[:n], 0)
			}
		})
	}
}

// TestDecodedLikePillow compares with the pixels that Pillow reads: the same for
// lossless pictures; within 3 grey levels, and 1/5 on average, for lossy ones, whose
// inverse transforms are free to round.
func TestDecodedLikePillow(t *testing.T) {
	b, err := os.ReadFile("testdata/decoded.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Name          string
		File, RGB     []byte
		Height, Width int
	}
	if err := json.Unmarshal(b, &cases); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			img, err := Decode(c.File, 0)
			if err != nil {
				t.Fatal(err)
			}
			p, err := rawCard().Prepare([]int{c.Height, c.Width, 3})
			if err != nil {
				t.Fatal(err)
			}
			px := make([]uint8, p.Len())
			if err := p.Pixels(px, img); err != nil {
				t.Fatal(err)
			}
			sum, worst := 0, 0
			for i, want := range c.RGB {
				d := max(int(want), int(px[i])) - min(int(want), int(px[i]))
				sum += d
				worst = max(worst, d)
			}
			t.Logf("worst %d, mean %.3f", worst, float64(sum)/float64(len(px)))
			if worst > 3 || sum*5 > len(px) || sum > 0 && strings.Contains(c.Name, "lossless") {
				t.Errorf("differs by at most %d, by %.3f on average", worst, float64(sum)/float64(len(px)))
			}
		})
	}
}
