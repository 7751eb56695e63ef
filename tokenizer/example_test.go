package tokenizer_test

import (
	"fmt"
	"log"

	"github.com/zerosearch-go/zerosearch/tokenizer"
)

func Example() {
	tok, err := tokenizer.Open("testdata/smollm2")
	if err != nil {
		log.Fatal(err)
	}
	ids := tok.Encode("Who wrote Ulysses?", tokenizer.EncodeOptions{})
	fmt.Println(ids, tok.Decode(ids, true))

	d := tok.NewDecoder(true)
	for _, id := range tok.Encode("née 🦙", tokenizer.EncodeOptions{}) {
		fmt.Printf("%q ", d.Add(id))
	}
	fmt.Printf("%q\n", d.Flush())
	// Output:
	// [10576 4150 42781 47] Who wrote Ulysses?
	// "n" "ée" " " "" "🦙" ""
}

func ExampleTemplate() {
	tok, err := tokenizer.Open("testdata/smollm2")
	if err != nil {
		log.Fatal(err)
	}
	chat, err := tok.Chat()
	if err != nil {
		log.Fatal(err)
	}
	text, err := chat.Render(tokenizer.ChatInput{
		Messages:            []tokenizer.Message{{Role: "system", Content: "Be brief."}, {Role: "user", Content: "Hi"}},
		AddGenerationPrompt: true,
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(text)
	fmt.Println(tok.Encode(text, tokenizer.EncodeOptions{ParseSpecial: true}))
	// Output:
	// <|im_start|>system
	// Be brief.<|im_end|>
	// <|im_start|>user
	// Hi<|im_end|>
	// <|im_start|>assistant
	//
	// [1 9690 198 6077 5453 30 2 198 1 4093 198 26843 2 198 1 520 9531 198]
}
