//! The configuration that nginx runs with: one worker, nothing buffered, nothing logged.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// A folder of nginx's own, removed when this is dropped.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// A new one, with the configuration in it.
    pub fn new(listen: SocketAddr, upstream: SocketAddr) -> io::Result<Self> {
        let name = format!("streamgauge-bench-{}-{}", std::process::id(), listen.port());
        let path = std::env::temp_dir().join(name);
        // Fails if it exists: it would not be ours.
        fs::create_dir(&path)?;
        let folder = Self(path);
        fs::write(folder.config(), config(folder.path(), listen, upstream))?;
        Ok(folder)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.0.join("nginx.conf")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn config(folder: &Path, listen: SocketAddr, upstream: SocketAddr) -> String {
    let folder = folder.display();
    let mut temporary = String::new();
    // All that nginx may have been built with; none is used.
    for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        let _ = writeln!(temporary, "    {kind}_temp_path {folder}/{kind};");
    }
    format!(
        "daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr crit;
events {{ worker_connections 65536; }}
http {{
{temporary}
    access_log off;
    tcp_nodelay on;
    keepalive_requests 1000000;
    upstream server {{
        server {upstream};
        keepalive 4096;
        keepalive_requests 1000000;
    }}
    server {{
        listen {listen} backlog=4096;
        location / {{
            proxy_pass http://server;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            proxy_set_header Host $http_host;
            proxy_buffering off;
            proxy_read_timeout 3600s;
        }}
    }}
}}
"
    )
}
