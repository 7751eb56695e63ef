package config

import (
	"fmt"
	"strconv"
)

// LoRARateFactor is how many times the best learning rate of all weights that of an adapter is: about ten, whatever its
// rank, if it lies on all linear layers (Schulman and Thinking Machines Lab, "LoRA Without Regret", 2025).
const LoRARateFactor = 10

// LoRARate raises the default learning rate of an adapter. chosen says that the user gave the rate; then it stays. note
// says what was done, "" for nothing.
func LoRARate(lr *float64, lora, chosen bool) (note string) {
	if !lora || chosen {
		return ""
	}
	// 1e-5, not 9.999999999999999e-06
	*lr, _ = strconv.ParseFloat(strconv.FormatFloat(*lr*LoRARateFactor, 'g', 12, 64), 64)
	return fmt.Sprintf("the learning rate of the adapter is %g, %d times the default of all weights: --lr changes it",
		*lr,
		LoRARateFactor)
}
