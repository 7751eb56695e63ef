package config

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/rl/search"
)

// Search chooses the engine behind <search>, the curriculum of its noise, and prices for the report of what searching
// cost.
type Search struct {
	// Device is the simulator's; nil: the policy's. The code that opened it closes it, after the models on it.
	Device kernels.Device `kong:"-" yaml:"-"`
	// Generator writes the documents of simulated engines instead of a model of this process; nil: a model does.
	Generator search.Generator `kong:"-" yaml:"-"`
	// Threads are those of a device that is opened for the embedding model; 0: all usable cores. Progress, if not nil,
	// is called while passages are embedded.
	Threads  int                   `kong:"-" yaml:"-"`
	Progress func(done, total int) `kong:"-" yaml:"-"`

	Mode           string        `name:"search-mode" help:"simulate_prompt, simulate_sft, remote, google, wiki, bm25, dense, hybrid, replay or none; or a mixture, as in simulate_sft:0.8,bm25:0.2." default:"simulate_prompt"`
	Engine         string        `name:"search-engine" help:"Name of the engine that google and wiki modes stand for." default:""`
	SimulationLLM  string        `name:"simulation-llm" help:"Simulator: a model folder, an adapter folder over the policy's base, same (the starting weights), or policy (the policy itself, as each step has trained it: self-search)." default:"same"`
	SimDType       string        `name:"sim-dtype" help:"Weights of the simulator: f32, bf16, q8 or q4 (default: as --dtype, or as a quantised folder is)." placeholder:"TYPE"`
	SimThinking    *bool         `name:"sim-enable-thinking" negatable:"" help:"enable_thinking of the simulator's chat template, here or (as chat_template_kwargs) on the servers of remote (default: as --enable-thinking for the policy's own weights, else the template's)."`
	StartThreshold float64       `name:"start-threshold" help:"Share of noisy documents at the first step (tau)." default:"0"`
	EndThreshold   float64       `name:"end-threshold" help:"Share of noisy documents at the last step." default:"0.5"`
	Curriculum     string        `name:"curriculum" help:"How tau changes from the one to the other: zerosearch (late), linear, constant (it stays), or adaptive (with the success rate)." default:"zerosearch"`
	CurriculumGoal float64       `name:"curriculum-goal" help:"Success rate (F1, smoothed) at which the adaptive curriculum reaches --end-threshold." default:"0.5"`
	NoiseRate      *float64      `name:"noise-rate" help:"Fixed share of noisy documents, instead of the curriculum." placeholder:"P"`
	TopK           int           `name:"topk" help:"Documents per query." default:"5"`
	Corpus         string        `name:"corpus" help:"What to search with bm25, dense and hybrid: .jsonl, .json or .parquet of {id, contents}, text, Markdown, HTML, PDF, .docx, .eml or .csv files, folders of them; several are separated by commas." placeholder:"PATH"`
	Index          string        `name:"index" resume:"free" help:"Folder that keeps the text of the corpus's documents by their content, and the vectors of dense, so that only what has changed is read and embedded again (default: none; for ask, zerosearch/index in the user's cache folder; none: nothing is kept)." placeholder:"DIR"`
	Embedding      string        `name:"embedding-model" help:"Embedding model of dense and hybrid: the folder of a decoder whose last token is the vector, such as Qwen3-Embedding." placeholder:"DIR"`
	EmbeddingOn    string        `name:"embedding-device" resume:"free" help:"Device of the embedding model (default: cpu)." placeholder:"DEVICE"`
	SearchEpisodes string        `name:"search-episodes" help:"The episodes.jsonl whose documents replay gives again." placeholder:"FILE"`
	SimTemperature float64       `name:"simulation-temperature" help:"Sampling temperature of the simulator." default:"0.8"`
	SimMaxTokens   int           `name:"simulation-max-tokens" help:"Maximum number of tokens of a simulated result." default:"600"`
	RemoteURL      string        `name:"remote-url" resume:"free" help:"Servers with OpenAI's API that simulate in mode remote, separated by commas: they share the load. OPENAI_API_KEY holds their key, if they need one." placeholder:"URL"`
	RemoteModel    string        `name:"remote-model" help:"Name of the model on these servers (default: the first that each lists)." placeholder:"NAME"`
	RemotePrompt   string        `name:"remote-prompt" help:"Prompt for these servers: simulate_prompt or simulate_sft." default:"simulate_prompt"`
	GoogleURL      string        `name:"google-url" resume:"free" help:"Address of SerpAPI. Its key is in SERPAPI_API_KEY." default:"https://serpapi.com/search"`
	WikiURL        string        `name:"wiki-url" resume:"free" help:"Retrieval servers that speak Search-R1's protocol, separated by commas." default:"http://127.0.0.1:8000/retrieve"`
	Cache          string        `name:"search-cache" resume:"free" help:"Folder that keeps what google and wiki answered (default: search-cache in the run directory; outside training: none)." placeholder:"DIR"`
	Tries          int           `name:"search-tries" resume:"free" help:"Number of tries for a query at each address of remote, google and wiki; after them the run stops and can be resumed." default:"5"`
	Timeout        time.Duration `name:"search-timeout" resume:"free" help:"Time limit of one try." default:"60s"`
	InFlight       int           `name:"search-concurrency" resume:"free" help:"Requests in flight at each address." default:"16"`
	GooglePrice    float64       `name:"google-price" resume:"free" help:"US dollars for a query of google, for the report (default: what ZeroSearch's authors paid, 586.70 for 64,000)." default:"0.009167"`
	MachinePrice   float64       `name:"machine-price" resume:"free" help:"US dollars for an hour of this machine: what simulating here costs." default:"0"`
	RemotePrice    float64       `name:"remote-price" resume:"free" help:"US dollars for a million tokens of remote." default:"0"`
}

// Values of --simulation-llm that are no folders.
const (
	SimulatorSame   = "same"   // the weights that the policy began with
	SimulatorPolicy = "policy" // the policy as it is now
)

// OwnSimulator reports whether the simulator is one of the models that the run has anyway, and not a folder.
func (c *Search) OwnSimulator() bool {
	return c.SimulationLLM == "" || c.SimulationLLM == SimulatorSame || c.SimulationLLM == SimulatorPolicy
}

// ErrNoOwnSimulator: --sim-ranks, but the simulator lies on weights of the policy.
var ErrNoOwnSimulator = errors.New("--sim-ranks needs a simulator of its own: name its folder in --simulation-llm")

// CheckServable is nil if other ranks can serve the simulator (--sim-ranks): there is one, in a folder of its own.
func (c *Search) CheckServable() error {
	switch {
	case !c.Simulates():
		return fmt.Errorf("--sim-ranks is of no use with --search-mode %s: no simulator writes the results", c.Mode)
	case c.OwnSimulator():
		return ErrNoOwnSimulator
	}
	return nil
}

// searchModes are what a mixture may hold.
var searchModes = []string{"simulate_prompt", "simulate_sft", "remote", "google", "wiki", "bm25", "dense", "hybrid",
	"replay", "none"}

// Modes are the engines of the mode, with their weights.
func (c *Search) Modes() ([]search.Share, error) {
	parts, err := search.ParseMixture(c.Mode)
	if err != nil {
		return nil, fmt.Errorf("--search-mode: %w", err)
	}
	for _, p := range parts {
		if !slices.Contains(searchModes, p.Mode) {
			return nil, fmt.Errorf("--search-mode %q is not known: use %s, or a mixture of them", p.Mode,
				strings.Join(searchModes, ", "))
		}
	}
	return parts, nil
}

// Has reports whether an engine for which f is true is part of the mode.
func (c *Search) Has(f func(mode string) bool) bool {
	parts, err := c.Modes()
	return err == nil && slices.ContainsFunc(parts, func(p search.Share) bool { return f(p.Mode) })
}

// Simulates reports whether a model in this process writes documents.
func (c *Search) Simulates() bool {
	return c.Has(func(mode string) bool { return strings.HasPrefix(mode, "simulate") })
}

// Indexed reports whether a corpus is searched.
func (c *Search) Indexed() bool {
	return c.Has(func(mode string) bool { return mode == "bm25" || embeds(mode) })
}

func embeds(mode string) bool { return mode == "dense" || mode == "hybrid" }

// On is the simulator's device, beside a policy on dev.
func (c *Search) On(dev kernels.Device) kernels.Device {
	if c.Device == nil {
		return dev
	}
	return c.Device
}

// Online reports whether answers are worth keeping.
func (c *Search) Online() bool {
	return c.Has(func(mode string) bool { return mode == "google" || mode == "wiki" })
}

// Label is what rows of an evaluation are marked with: simulated for every engine that is told the answers.
func (c *Search) Label() string {
	parts, err := c.Modes()
	if err != nil {
		return c.Mode
	}
	var out []string
	for _, p := range parts {
		name := p.Mode
		if name == "remote" || strings.HasPrefix(name, "simulate") {
			name = "simulated"
		}
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return strings.Join(out, "+")
}

// Check refuses what cannot be, before anything is opened.
func (c *Search) Check() error {
	parts, err := c.Modes()
	if err != nil {
		return err
	}
	is := func(mode string) bool {
		return slices.ContainsFunc(parts, func(p search.Share) bool { return p.Mode == mode })
	}
	tau := func(x float64) bool { return x >= 0 && x <= 1 }
	for _, p := range []struct {
		bad bool
		say string
	}{
		{c.TopK < 1, "--topk must be at least 1"},
		{!tau(c.StartThreshold) ||
			!tau(c.EndThreshold), "--start-threshold and --end-threshold must lie between 0 and 1"},
		{!(c.CurriculumGoal >= 0 && c.CurriculumGoal <= 1), "--curriculum-goal must lie between 0 and 1"},
		{c.NoiseRate != nil && !tau(*c.NoiseRate), "--noise-rate must lie between 0 and 1"},
		{c.SimMaxTokens < 0 ||
			!(c.SimTemperature >= 0), "--simulation-max-tokens and --simulation-temperature must not be negative"},
		{c.Indexed() && c.Corpus == "", "--search-mode " + c.Mode +
			" needs --corpus PATH: a file of passages or documents, or a folder"},
		{c.Has(embeds) && c.Embedding == "", "--search-mode " + c.Mode +
			" needs --embedding-model DIR, such as the folder of Qwen3-Embedding"},
		{!c.Has(embeds) && c.Embedding != "", "--embedding-model is for --search-mode dense or hybrid, not " + c.Mode},
		{is("replay") &&
			c.SearchEpisodes == "", "--search-mode replay needs --search-episodes FILE, the episodes.jsonl of a run"},
		{is("remote") &&
			c.RemoteURL == "", "--search-mode remote needs --remote-url http://HOST:PORT, several separated by commas"},
		{is("google") &&
			GoogleKey() == "",
			"--search-mode google needs an API key of serpapi.com: set the environment variable SERPAPI_API_KEY"},
		{c.RemotePrompt != "" && c.RemotePrompt != string(search.SFT) &&
			c.RemotePrompt != string(search.Prompt), "--remote-prompt must be simulate_prompt or simulate_sft"},
		{c.SimThinking != nil && !c.Simulates() && !is("remote"),
			"--sim-enable-thinking is of no use with --search-mode " + c.Mode + ": no model writes the results"},
		{c.Tries < 0 || c.Timeout < 0 ||
			c.InFlight < 0, "--search-tries, --search-timeout and --search-concurrency must not be negative"},
		{!(c.GooglePrice >= 0) || !(c.MachinePrice >= 0) || !(c.RemotePrice >= 0),
			"--google-price, --machine-price and --remote-price must not be negative"},
	} {
		if p.bad {
			return errors.New(p.say)
		}
	}
	if err := c.NoiseCurriculum().Validate(); err != nil {
		return fmt.Errorf("--curriculum: %w", err)
	}
	return nil
}

// NoiseCurriculum is how the share of noisy documents rises during training.
func (c *Search) NoiseCurriculum() search.Curriculum {
	return search.Curriculum{Kind: search.CurriculumKind(c.Curriculum), Start: c.StartThreshold, End: c.EndThreshold,
		Goal: c.CurriculumGoal}
}

// Meter makes a meter with the prices.
func (c *Search) Meter() *search.Meter {
	return search.NewMeter(search.Prices{Google: c.GooglePrice, Hour: c.MachinePrice, Tokens: c.RemotePrice})
}

// Repeatable reports whether the searches of a mode can be repeated: those of this machine can; a server may answer
// otherwise today.
func (c *Search) Repeatable() bool {
	return !c.Has(func(mode string) bool { return mode == "google" || mode == "wiki" || mode == "remote" })
}

// GoogleKey is SerpAPI's own variable, or that of ZeroSearch's scripts.
func GoogleKey() string { return cmp.Or(os.Getenv("SERPAPI_API_KEY"), os.Getenv("SER_API_KEY")) }
