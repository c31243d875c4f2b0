# Varnish as well as it can be set up for this: one object per path and arguments, a gzip one beside the plain one so
# that no answer is unpacked or packed again, stale answers at once while one request refreshes, errors not cached.
# What stands between @ signs is put in by peers/varnish.mjs.
vcl 4.1;

backend origin {
  .host = "127.0.0.1";
  .port = "@UPSTREAM_PORT@";
}

sub vcl_recv {
  unset req.http.Cookie;
  return (hash);
}

sub vcl_hash {
  hash_data(req.url);
  if (req.http.Accept-Encoding ~ "gzip") { hash_data("gzip"); }
  return (lookup);
}

sub vcl_backend_fetch {
  # Varnish asks for gzip by itself, and would unpack it for every client that wants it plain.
  if (bereq.http.X-Coding != "gzip") { unset bereq.http.Accept-Encoding; }
}

sub vcl_miss { call coding; }
sub vcl_hit { call coding; }

sub coding {
  if (req.http.Accept-Encoding ~ "gzip") { set req.http.X-Coding = "gzip"; } else { unset req.http.X-Coding; }
}

sub vcl_backend_response {
  unset beresp.http.Vary;
  unset beresp.http.Cache-Control;
  if (beresp.status == 200) {
    set beresp.ttl = @TTL@s;
    set beresp.grace = @STALE@s;
  } else if (beresp.status >= 400 && bereq.is_bgfetch) {
    return (abandon); # the old answer stays
  } else {
    set beresp.uncacheable = true;
    set beresp.ttl = 0s;
  }
  return (deliver);
}

sub vcl_deliver {
  set resp.http.Cache-Control = "no-cache";
  set resp.http.Vary = "Accept-Encoding";
  set resp.http.Access-Control-Allow-Origin = "*";
  set resp.http.X-Content-Type-Options = "nosniff";
}
