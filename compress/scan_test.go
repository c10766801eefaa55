package compress

import (
	"context"
	"errors"
	"testing"

	"whit/card"
	"whit/data"
)

func TestScan(t *testing.T) {
	g := mlp(t)
	before := g.String()
	d := Data{Set: blobs{n: 900}, Test: func(context.Context) (data.Dataset, error) {
		t.Error("the test set was opened")
		return nil, errors.New("closed")
	}}
	r, err := Scan(context.Background(), g, card.Card{}, d, Options{Model: "a/b.onnx", NoFinetune: true}, map[string]any{"fractions": []float64{0.5, 0.9}})
	if err != nil {
		t.Fatal(err)
	}
	if g.String() != before {
		t.Error("the model was changed")
	}
	if len(r.Curves) != 6 || len(r.Ranks) != 3 || len(r.Ranks["weight"]) != 2 || r.N != 150 || r.Model != "b.onnx" {
		t.Errorf("%+v", r)
	}
	for _, c := range r.Curves {
		switch last := c.Points[len(c.Points)-1]; {
		case c.Granularity == "layer" && (len(c.Points) != 1 || last.Fraction != 1 || last.Error < 0.3):
			t.Errorf("%+v", c)
		case c.Granularity == "weight" && (len(c.Points) != 3 || last.Loss < c.Points[0].Loss):
			t.Errorf("%+v", c)
		}
	}
	if _, err := Scan(context.Background(), g, card.Card{}, d, Options{}, map[string]any{"granularity": []string{"atom"}}); err == nil {
		t.Error("an unknown granularity")
	}
}
