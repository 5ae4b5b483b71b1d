-- One exchange a request, with a key drawn at random from the sample. ROUND seeds the draw: what is compared gets the same keys.
local keys = {}
for line in io.lines(os.getenv("KEYS_FILE")) do keys[#keys + 1] = line end
math.randomseed(tonumber(os.getenv("ROUND") or "1"))

wrk.method = "POST"
wrk.headers["Content-Type"] = "application/x-www-form-urlencoded"

request = function()
  return wrk.format(nil, nil, nil, "personalAccessKey=" .. keys[math.random(#keys)])
end

done = function(summary, latency)
  local errors = summary.errors
  io.write(string.format("RESULT %.0f %d %d %d %d %d %d\n", summary.requests / (summary.duration / 1e6),
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9), summary.requests, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout))
end
