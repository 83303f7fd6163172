//go:build linux && (amd64 || arm64)

package helper

import (
	"encoding/binary"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"headgate/internal/sandbox/stage"
)

const maxSources = 128

// Attributes of what is shown inside. Nothing is ever set-uid or a device there.
const (
	readOnly   = unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV
	readWrite  = unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV
	deviceNode = unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NOEXEC
)

// What programs need of the host to run at all.
var (
	runtimeDirs = []string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store"}
	runtimeEtc  = []string{ // of certificates what is public: the host's private keys lie next to it
		"/etc/ssl/certs", "/etc/ssl/cert.pem", "/etc/ssl/openssl.cnf", "/etc/pki/ca-trust", "/etc/pki/tls/certs", "/etc/pki/tls/cert.pem",
		"/etc/pki/tls/openssl.cnf", "/etc/ca-certificates", "/etc/alternatives", "/etc/ld.so.cache", "/etc/ld.so.conf",
		"/etc/ld.so.conf.d", "/etc/localtime", "/etc/mime.types",
	}
	devices = []string{"/dev/null", "/dev/full", "/dev/random", "/dev/urandom"}
)

// source is a piece of the host that is shown inside.
type source struct {
	from, to string
	attr     uint64
	dir      bool
}

// view is the whole file tree a child sees.
type view struct {
	sources  []source
	symlinks [][2]string // place, content
	files    [][2]string // place, content
}

func newView(c Child) (*view, error) {
	v := &view{}
	for _, dir := range slices.Concat(runtimeDirs, runtimeEtc) {
		v.addRuntime(dir)
	}
	for _, dev := range devices {
		v.sources = append(v.sources, source{from: dev, to: dev, attr: deviceNode})
	}
	v.sources = append(v.sources, source{from: c.WorkDir, to: PrivateDir, attr: readWrite, dir: true})
	for _, p := range c.ReadOnly {
		if err := v.add(p, readOnly); err != nil {
			return nil, err
		}
	}
	for _, p := range c.ReadWrite {
		if err := v.add(p, readWrite); err != nil {
			return nil, err
		}
	}
	// A mount on a path hides what was mounted below it before.
	slices.SortStableFunc(v.sources, func(a, b source) int { return strings.Count(a.to, "/") - strings.Count(b.to, "/") })
	if len(v.sources) > maxSources {
		return nil, &PathError{Text: "There are too many paths."}
	}
	hosts := "127.0.0.1 localhost\n"
	for _, h := range c.Rules.Hosts() {
		hosts += h.Addr.String() + " " + h.Name + "\n"
	}
	v.files = [][2]string{
		{"/etc/passwd", fmt.Sprintf("user:x:%d:%d::%s:/usr/sbin/nologin\n", InsideID, InsideID, PrivateDir)},
		{"/etc/group", fmt.Sprintf("user:x:%d:\n", InsideID)},
		{"/etc/hosts", hosts},
		{"/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n"},
		{"/etc/resolv.conf", "# names come from /etc/hosts\n"},
	}
	for i, name := range []string{"/dev/stdin", "/dev/stdout", "/dev/stderr"} {
		v.symlinks = append(v.symlinks, [2]string{name, fmt.Sprintf("/proc/self/fd/%d", i)})
	}
	// /dev/full reads as zeros, too, but is no shared memory.
	v.symlinks = append(v.symlinks, [2]string{"/dev/fd", "/proc/self/fd"}, [2]string{"/dev/zero", "full"})
	return v, nil
}

// addRuntime shows a part of the host's runtime where it exists. A symbolic
// link (/lib on many systems) stays one.
func (v *view) addRuntime(place string) {
	info, err := os.Lstat(place)
	if err != nil {
		return
	}
	if info.Mode()&os.ModeSymlink != 0 && !strings.HasPrefix(place, "/etc/") {
		if to, err := os.Readlink(place); err == nil {
			v.symlinks = append(v.symlinks, [2]string{place, to})
		}
		return
	}
	if info, err = os.Stat(place); err == nil {
		v.sources = append(v.sources, source{from: place, to: place, attr: readOnly, dir: info.IsDir()})
	}
}

// add shows a path of the spec at its own place.
func (v *view) add(place string, attr uint64) error {
	for _, reserved := range []string{"/proc", "/sys", "/dev", PrivateDir} {
		if within(place, reserved) {
			return &PathError{Text: "Paths below " + reserved + " cannot be shown to a server."}
		}
	}
	info, err := os.Stat(place)
	if err != nil {
		return &PathError{"A path the server needs does not exist.", err}
	}
	place = v.behindLinks(place)
	if attr == readOnly && v.covers(place) {
		return nil // it is there already, with the runtime
	}
	v.sources = append(v.sources, source{from: place, to: place, attr: attr, dir: info.IsDir()})
	return nil
}

// behindLinks is where a path leads that begins with a link of the runtime, as
// /bin is on many systems: inside, the same link leads there.
func (v *view) behindLinks(place string) string {
	for _, link := range v.symlinks {
		if rest, below := strings.CutPrefix(place, link[0]+"/"); below {
			if real, err := filepath.EvalSymlinks(link[0]); err == nil {
				return filepath.Join(real, rest)
			}
		}
	}
	return place
}

// covers reports whether a directory that is shown holds the place.
func (v *view) covers(place string) bool {
	return slices.ContainsFunc(v.sources, func(s source) bool {
		return s.dir && s.to != PrivateDir && within(place, s.to)
	})
}

func within(place, dir string) bool {
	return place == dir || strings.HasPrefix(place, dir+"/")
}

// cloneSources takes a private copy of each source's mount, not yet attached
// anywhere, with the attributes it will have. Privileged or not, it needs the
// right to walk to the source.
func (v *view) cloneSources(p *Plan) {
	for i, s := range v.sources {
		open := p.Call("show "+s.from, unix.SYS_OPEN_TREE, unix.AT_FDCWD, s.from, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
		p.fixed(open, sourceFD+i)
		p.Call("protect "+s.from, unix.SYS_MOUNT_SETATTR, sourceFD+i, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, mountAttr(s.attr), unix.MOUNT_ATTR_SIZE_VER0)
	}
}

// mountAttr is a struct mount_attr that sets attributes, and parts the mount
// from those it was copied from, so that later mounts of the host stay outside.
func mountAttr(set uint64) []byte {
	attr := make([]byte, unix.MOUNT_ATTR_SIZE_VER0)
	binary.LittleEndian.PutUint64(attr, set)
	binary.LittleEndian.PutUint64(attr[16:], unix.MS_PRIVATE)
	return attr
}

// build makes the view in the init: a small file system in memory with the
// sources in it, which then becomes the root and read-only.
func (v *view) build(p *Plan) {
	p.Call("part from the host's mounts", unix.SYS_MOUNT, "none", "/", 0, unix.MS_REC|unix.MS_PRIVATE, 0)
	if p.uid < 0 {
		v.cloneSources(p)
	}
	v.fileSystem(p, nil, "tmpfs", readWrite, "mode", "0755", "size", "4m")
	p.Call("place the root", unix.SYS_DUP3, fsFD, rootFD, unix.O_CLOEXEC)
	p.Call("attach the root", unix.SYS_MOVE_MOUNT, rootFD, "", unix.AT_FDCWD, "/", unix.MOVE_MOUNT_F_EMPTY_PATH)
	p.Call("enter the root", unix.SYS_FCHDIR, rootFD)

	made := map[string]bool{"/": true, ".": true}
	v.mkdir(p, made, TempDir, "/dev/shm", "/proc", "/etc", PrivateDir)
	v.fileSystem(p, nil, "tmpfs", readWrite, "mode", "0700", "size", fmt.Sprint(p.child.Temp), "nr_inodes", "16384")
	p.Call("attach /tmp", unix.SYS_MOVE_MOUNT, fsFD, "", unix.AT_FDCWD, "tmp", unix.MOVE_MOUNT_F_EMPTY_PATH)
	p.fixed(p.Call("share /tmp", unix.SYS_OPEN_TREE, unix.AT_FDCWD, "tmp", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC), fsFD)
	p.Call("attach /dev/shm", unix.SYS_MOVE_MOUNT, fsFD, "", unix.AT_FDCWD, "dev/shm", unix.MOVE_MOUNT_F_EMPTY_PATH)
	// A container that hides parts of its own /proc may mount no other. Then
	// there is none inside, which is no wall less.
	without := p.Label()
	v.fileSystem(p, without, "proc", readOnly|unix.MOUNT_ATTR_NOEXEC)
	p.Call("attach /proc", unix.SYS_MOVE_MOUNT, fsFD, "", unix.AT_FDCWD, "proc", unix.MOVE_MOUNT_F_EMPTY_PATH)
	p.Mark(without)
	v.fill(p, made)

	// With both paths the same, the old root comes to lie on the new one and
	// can be taken off without a place of its own.
	p.Call("change the root", unix.SYS_PIVOT_ROOT, ".", ".")
	p.Call("take the host's files away", unix.SYS_UMOUNT2, ".", unix.MNT_DETACH)
	p.Call("enter the new root", unix.SYS_CHDIR, "/")
	p.Call("close what was written", unix.SYS_CLOSE_RANGE, controlFD+1, fsFD-1, 0)
	p.Call("protect the root", unix.SYS_MOUNT_SETATTR, rootFD, "", unix.AT_EMPTY_PATH, mountAttr(readOnly), unix.MOUNT_ATTR_SIZE_VER0)
}

// fill puts sources, links and files in their places, relative to the new root.
func (v *view) fill(p *Plan, made map[string]bool) {
	for i, s := range v.sources {
		if !v.hasPlace(i) {
			if s.dir {
				v.mkdir(p, made, s.to)
			} else {
				v.mkdir(p, made, path.Dir(s.to))
				p.Call("make a place for "+s.to, unix.SYS_OPENAT, unix.AT_FDCWD, s.to[1:], unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o644)
			}
		}
		p.Call("attach "+s.to, unix.SYS_MOVE_MOUNT, sourceFD+i, "", unix.AT_FDCWD, s.to[1:], unix.MOVE_MOUNT_F_EMPTY_PATH)
	}
	for _, link := range v.symlinks {
		v.mkdir(p, made, path.Dir(link[0]))
		p.Call("link "+link[0], unix.SYS_SYMLINKAT, link[1], unix.AT_FDCWD, link[0][1:])
	}
	for _, file := range v.files {
		p.put("write "+file[0], file[0][1:], file[1], unix.O_CREAT|unix.O_EXCL)
	}
}

// hasPlace reports whether an earlier source already shows the place of source i.
func (v *view) hasPlace(i int) bool {
	return (&view{sources: v.sources[:i]}).covers(v.sources[i].to)
}

// mkdir makes directories with their parents, once.
func (v *view) mkdir(p *Plan, made map[string]bool, dirs ...string) {
	for _, dir := range dirs {
		if made[dir] {
			continue
		}
		made[dir] = true
		v.mkdir(p, made, path.Dir(dir))
		p.Call("make "+dir, unix.SYS_MKDIRAT, unix.AT_FDCWD, dir[1:], 0o755)
	}
}

// fileSystem makes a new file system; its mount is then at fsFD, unattached.
// With a label it goes there when the kernel refuses.
func (v *view) fileSystem(p *Plan, refused *stage.Label, kind string, attr uint64, options ...string) {
	open := p.Call("open "+kind, unix.SYS_FSOPEN, kind, unix.FSOPEN_CLOEXEC).Else(refused)
	p.fixed(open, fsFD)
	for i := 0; i < len(options); i += 2 {
		p.Call("configure "+kind, unix.SYS_FSCONFIG, fsFD, unix.FSCONFIG_SET_STRING, options[i], options[i+1], 0)
	}
	p.Call("make "+kind, unix.SYS_FSCONFIG, fsFD, unix.FSCONFIG_CMD_CREATE, 0, 0, 0).Else(refused)
	mount := p.Call("mount "+kind, unix.SYS_FSMOUNT, fsFD, unix.FSMOUNT_CLOEXEC, attr).Else(refused)
	p.fixed(mount, fsFD)
}
