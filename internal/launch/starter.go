package launch

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// starters are programs whose arguments are programs.
var starters = []string{
	"sh", "bash", "dash", "ash", "zsh", "ksh", "csh", "tcsh", "fish", "busybox", "toybox", "env", "xargs", "find", "nice", "nohup", "timeout", "setsid",
	"sudo", "su", "doas", "ssh", "npx", "npm", "pnpm", "pnpx", "yarn", "bunx", "uvx", "uv", "pipx", "pip", "docker", "podman", "nerdctl", "nsenter",
	"unshare", "chroot", "awk", "gawk", "mawk", "sed", "vim", "vi", "ed", "make", "git", "expect", "script", "screen", "tmux", "systemd-run", "powershell", "pwsh", "cmd",
}

// runtimes run a script: their first argument is fixed.
var runtimes = regexp.MustCompile(`^(?:node|nodejs|deno|bun|python[0-9.]*|pypy[0-9.]*|ruby[0-9.]*|perl[0-9.]*|php[0-9.]*|java|lua[0-9.]*|Rscript|julia|dotnet|mono|tclsh[0-9.]*)$`)

// checkStarter refuses programs that would run whatever an argument says.
func checkStarter(program string, args []string, bad func(string, ...any) error) error {
	name := filepath.Base(program)
	if slices.Contains(starters, strings.TrimSuffix(name, ".exe")) {
		return bad("%s starts other programs, so it cannot be one of the catalog's. Name the program itself.", name)
	}
	if runtimes.MatchString(name) && (len(args) == 0 || fieldRef.MatchString(args[0]) || !filepath.IsAbs(args[0])) {
		return bad("%s needs the absolute path of its script as the first argument, without options before it.", name)
	}
	return nil
}

// loaders are variables that make some runtime load code, or change where it
// finds it; a name that ends in * stands for all that begin so.
var loaders = []string{
	"LD_*", "DYLD_*", "GCONV_PATH", "LOCPATH", "NLSPATH", "MALLOC_*", "GLIBC_TUNABLES",
	"NODE_OPTIONS", "NODE_PATH", "NODE_REPL_*", "NODE_ICU_DATA", "NODE_COMPILE_CACHE", "NODE_V8_COVERAGE", "NPM_*", "BUN_*", "DENO_*",
	"PYTHON*", "PERL5*", "PERLLIB", "RUBYOPT", "RUBYLIB", "GEM_*", "BUNDLE_*", "PHPRC", "PHP_INI_SCAN_DIR", "LUA_*", "R_*", "JULIA_*",
	"JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "JDK_JAVA_OPTIONS", "CLASSPATH", "DOTNET_*", "CORECLR_*", "COMPLUS_*", "MONO_*",
	"BASH_*", "BASHOPTS", "SHELLOPTS", "ENV", "IFS", "PS4", "PROMPT_COMMAND", "CDPATH", "GLOBIGNORE", "ZDOTDIR",
	"GIT_*", "SSH_*", "EDITOR", "VISUAL", "PAGER", "BROWSER", "SHELL", "TCLLIBPATH", "OPENSSL_CONF", "OPENSSL_ENGINES", "OPENSSL_MODULES",
	"PATH", "HOME", "TMPDIR", "USER", "LOGNAME", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY",
}

// harmless are exceptions to what loaders covers.
var harmless = []string{"PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "PYTHONUTF8", "PYTHONIOENCODING", "PYTHONHASHSEED"}

// loadsCode reports whether a variable must not be set for a child. Case is no
// way around: some runtimes ignore it.
func loadsCode(name string) bool {
	name = strings.ToUpper(name)
	if slices.Contains(harmless, name) {
		return false
	}
	return slices.ContainsFunc(loaders, func(l string) bool {
		prefix, open := strings.CutSuffix(l, "*")
		return name == l || open && strings.HasPrefix(name, prefix)
	})
}
