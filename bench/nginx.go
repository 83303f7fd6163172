package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

const nginxConfig = `
daemon off;
%[1]s
worker_processes 2;
error_log stderr crit;
pid %[2]s/nginx.pid;
events { worker_connections 8192; }
http {
	access_log off;
	client_body_temp_path %[2]s/body; proxy_temp_path %[2]s/proxy; fastcgi_temp_path %[2]s/fastcgi;
	uwsgi_temp_path %[2]s/uwsgi; scgi_temp_path %[2]s/scgi;
	client_max_body_size 16m; client_body_buffer_size 1m;
	keepalive_timeout 1h; keepalive_requests 100000000;
	upstream raw { server %[3]s; keepalive 512; keepalive_requests 100000000; }
	server {
		listen %[4]s;
		location / {
			proxy_pass http://raw;
			proxy_http_version 1.1;
			proxy_set_header Connection "";
			proxy_buffer_size 64k;
			proxy_buffers 8 128k;
			proxy_busy_buffers_size 256k;
		}
	}
}
`

var errNoNginx = errors.New("not installed")

// nginx starts nginx in front of the upstream, with connections kept on both
// sides and bodies in memory.
func nginx(dir, upstream string) (*process, string, error) {
	path, err := exec.LookPath("nginx")
	if err != nil {
		if path, err = exec.LookPath("/usr/sbin/nginx"); err != nil {
			return nil, "", errNoNginx
		}
	}
	dir = filepath.Join(dir, "nginx")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, "", err
	}
	user := ""
	if os.Geteuid() == 0 {
		user = "user root;" // the temporary directories are root's
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, "", err
	}
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, fmt.Appendf(nil, nginxConfig, user, dir, upstream, addr), 0o600); err != nil {
		return nil, "", err
	}
	p, err := spawn("nginx", dir, exec.Command(path, "-p", dir, "-c", file, "-e", "stderr"))
	return p, addr, err
}
