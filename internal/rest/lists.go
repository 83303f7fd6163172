package rest

import (
	"reflect"
	"strings"
)

// fillLists makes nil lists empty, as deep as v goes, because a list is never
// null on any door. Lists marked omitzero keep their nil: they are absent.
func fillLists(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			fillLists(v.Elem())
		}
	case reflect.Struct:
		t := v.Type()
		for i := range t.NumField() {
			f := t.Field(i)
			if f.IsExported() && !strings.Contains(f.Tag.Get("json"), ",omitzero") {
				fillLists(v.Field(i))
			}
		}
	case reflect.Slice:
		elem := v.Type().Elem().Kind()
		if elem == reflect.Uint8 { // bytes are no list
			return
		}
		if v.IsNil() && v.CanSet() {
			v.Set(reflect.MakeSlice(v.Type(), 0, 0))
		}
		if elem == reflect.Struct || elem == reflect.Pointer || elem == reflect.Slice {
			for i := range v.Len() {
				fillLists(v.Index(i))
			}
		}
	}
}
