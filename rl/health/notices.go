package health

// Notices choose the findings that a user should be told while a run goes on: each once, and again if it becomes worse
// or comes back.
type Notices struct {
	told map[Kind]notice
}

// notice is how bad a finding was when the user was told, and the last step in which it was made.
type notice struct {
	state State
	step  int
}

// quietSteps is for how many steps a finding must have been gone before it is told again.
const quietSteps = 10

// After returns what to tell after the last of steps.
func (n *Notices) After(steps []Step) (tell []Finding) {
	if n.told == nil {
		n.told = map[Kind]notice{}
	}
	step := steps[len(steps)-1].Step
	for _, f := range Judge(steps).Findings {
		told, ok := n.told[f.Kind]
		if !ok || f.State.WorseThan(told.state) || step-told.step > quietSteps {
			told.state = f.State
			tell = append(tell, f)
		}
		told.step = step
		n.told[f.Kind] = told
	}
	return tell
}
