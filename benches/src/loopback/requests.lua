-- Sends the header values of a file in turn: wrk -s requests.lua URL -- FILE
local requests, last = {}, 0

function init(args)
    for value in io.lines(args[1]) do
        requests[#requests + 1] = wrk.format("GET", "/", { Authorization = value })
    end
end

function request()
    last = last % #requests + 1
    return requests[last]
end

function done(summary)
    local errors = summary.errors
    local lost = errors.connect + errors.read + errors.write + errors.timeout
    io.write(string.format("\nsummary %d %d %d %d\n", summary.requests, summary.duration, errors.status, lost))
end
