package config

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"
)

// YAML is the configuration as the config.yaml of a run: the value of every option that is not empty, by flag name, as
// --config of the command takes it.
func (c *Config) YAML() []byte {
	var out strings.Builder
	all := reflect.ValueOf(c).Elem()
	for i := range all.NumField() {
		group := all.Field(i)
		for k := range group.NumField() {
			name, v := group.Type().Field(k).Tag.Get("name"), group.Field(k)
			if v.Kind() == reflect.Pointer && !v.IsNil() {
				v = v.Elem()
			}
			empty := (v.Kind() == reflect.String || v.Kind() == reflect.Slice) && v.Len() == 0 ||
				v.Kind() == reflect.Pointer
			if name == "" || empty {
				continue
			}
			value := v.Interface()
			if d, ok := value.(time.Duration); ok {
				value = d.String()
			}
			text, err := json.Marshal(value) // JSON is YAML
			if err != nil {
				continue // numbers that are not finite are refused before
			}
			fmt.Fprintf(&out, "%s: %s\n", name, text)
		}
	}
	return []byte(out.String())
}
