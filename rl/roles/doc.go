// Package roles says which model plays which role in a run (policy, simulator, reference, critic), on which weights and
// which device, and opens them. Roles share weights wherever they can. Every verb that opens or plans models uses it.
package roles
