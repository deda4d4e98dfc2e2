// Package rooted finds files below a directory as a process chrooted there would.
package rooted

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// Resolve returns the path on this machine of name below root, every symbolic link followed, absolute ones relative to
// root. It fails with os.ErrNotExist where a component is missing.
func Resolve(root, name string) (string, error) {
	here, todo := "/", strings.Split(name, "/")
	for links := 0; len(todo) > 0; {
		next := path.Join(here, todo[0])
		todo = todo[1:]
		info, err := os.Lstat(filepath.Join(root, next))
		if err != nil {
			return "", err
		}
		if info.Mode()&os.ModeSymlink == 0 {
			here = next
			continue
		}
		if links++; links > 40 {
			return "", fmt.Errorf("too many symbolic links in %s", name)
		}
		target, err := os.Readlink(filepath.Join(root, next))
		if err != nil {
			return "", err
		}
		if path.IsAbs(target) {
			here = "/"
		}
		todo = append(strings.Split(target, "/"), todo...)
	}
	return filepath.Join(root, here), nil
}
