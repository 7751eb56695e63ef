package serve_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/zerosearch-go/zerosearch/engine"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/ref"
	"github.com/zerosearch-go/zerosearch/model"
	"github.com/zerosearch-go/zerosearch/serve"
	"github.com/zerosearch-go/zerosearch/tokenizer"
)

// This program embeds a server for clients of OpenAI's API. The model is the demo's simulator.
func ExampleNew() {
	dev, dir := ref.New(), "../demo/models/simulator"
	m, err := model.Load(dev, dir, model.Options{DType: kernels.F32})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer m.Close()
	tok, err := tokenizer.Open(dir)
	if err != nil {
		fmt.Println(err)
		return
	}
	e := engine.New(dev, engine.Options{})
	defer e.Close()
	if err := e.AddModel("m", m, engine.ModelOptions{}); err != nil {
		fmt.Println(err)
		return
	}
	s, err := serve.New(e,
		[]serve.Model{{ID: "simulator", Engine: "m", Config: m.Config, Tokenizer: tok, EOS: tok.EOSIDs()}},
		serve.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	server := httptest.NewServer(s)
	defer server.Close()
	answer, err := http.Post(server.URL+"/v1/completions", "application/json",
		strings.NewReader(`{"model": "simulator", "prompt": "bell maker", "max_tokens": 4, "temperature": 0}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer answer.Body.Close()
	var got struct {
		Object string
		Usage  struct {
			Completion int `json:"completion_tokens"`
		}
	}
	if err := json.NewDecoder(answer.Body).Decode(&got); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(answer.StatusCode, got.Object, got.Usage.Completion, "tokens")
	// Output:
	// 200 text_completion 4 tokens
}
