package sidecar

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"github.com/occystrap/occystrap/pipeline"
)

// wrongSettings tells what is wrong with a file of settings: where it is, and what
// was meant or is taken there. It repeats no value, which may be a login.
func wrongSettings(name string, err error) error {
	var unknown *toml.StrictMissingError
	if errors.As(err, &unknown) && len(unknown.Errors) > 0 {
		row, _ := unknown.Errors[0].Position()
		return fmt.Errorf("%s, line %d: %s", name, row, noSetting(unknown.Errors[0].Key()))
	}
	var wrong *toml.DecodeError
	if !errors.As(err, &wrong) {
		return fmt.Errorf("%s: %w", name, err)
	}
	row, _ := wrong.Position()
	if takes := settingTakes(wrong.Key()); takes != "" && strings.Contains(wrong.Error(), "cannot decode") {
		return fmt.Errorf("%s, line %d: %s takes %s", name, row, strings.Join(wrong.Key(), "."), takes)
	}
	return fmt.Errorf("%s, line %d: it is not TOML: %s", name, row, strings.TrimPrefix(wrong.Error(), "toml: "))
}

// noSetting says that there is no such setting, and which one may have been meant.
func noSetting(key []string) string {
	said := "there is no setting " + strings.Join(key, ".")
	above, last := key[:len(key)-1], key[len(key)-1]
	t, ok := settingType(above)
	if !ok {
		return said
	}
	var there []string
	for i := range t.NumField() {
		there = append(there, t.Field(i).Tag.Get("toml"))
	}
	if near := pipeline.Nearest(last, there); near != "" {
		said += " (did you mean " + strings.Join(append(above[:len(above):len(above)], near), ".") + "?)"
	}
	return said
}

// settingType is the table that a key leads to.
func settingType(key []string) (reflect.Type, bool) {
	t := reflect.TypeFor[settings]()
	for _, k := range key {
		f, ok := settingField(t, k)
		if !ok {
			return nil, false
		}
		if t = f; t.Kind() == reflect.Slice {
			t = t.Elem()
		}
	}
	return t, t.Kind() == reflect.Struct
}

// settingField is the type of what a table calls by a name.
func settingField(table reflect.Type, name string) (reflect.Type, bool) {
	for i := range table.NumField() {
		if f := table.Field(i); f.Tag.Get("toml") == name {
			return f.Type, true
		}
	}
	return nil, false
}

// settingTakes says what a setting may be; "" where there is none.
func settingTakes(key []string) string {
	if len(key) == 0 {
		return ""
	}
	table, ok := settingType(key[:len(key)-1])
	if !ok {
		return ""
	}
	t, ok := settingField(table, key[len(key)-1])
	if !ok {
		return ""
	}
	name := strings.Join(key, ".")
	switch {
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct:
		return "tables, each below a line [[" + name + "]]"
	case t.Kind() == reflect.Slice:
		return `a list, as ["…", "…"]`
	case t.Kind() == reflect.Struct:
		return "a table, below the line [" + name + "]"
	case t.Kind() == reflect.Bool:
		return "true or false"
	case t.Kind() == reflect.Int:
		return "a whole number"
	}
	return "a text in quotes"
}
