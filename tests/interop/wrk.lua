-- Asks in turn for a path that stays and one that comes and goes, and judges each answer by its own words: which of the
-- two was asked does not come back with it.
local host = os.getenv("WRK_HOST")
local threads = {}

function setup(thread)
    table.insert(threads, thread)
end

function init()
    asked, stays, there, gone, wrong = 0, 0, 0, 0, 0
    local headers = { Host = host }
    own = wrk.format("GET", "/health/live", headers)
    module = wrk.format("GET", "/.well-known/host-meta", headers)
end

function request()
    asked = asked + 1
    if asked % 2 == 0 then return own end
    return module
end

function response(status, headers, body)
    if status == 200 and body == '{"status":"live"}' then
        stays = stays + 1
    elseif status == 200 and body:find("<XRD", 1, true) and body:find("</XRD>", 1, true) then
        there = there + 1
    elseif status == 404 and not body:find("status", 1, true) then
        gone = gone + 1
    else
        wrong = wrong + 1
        if wrong <= 3 then print("wrong: " .. status .. " " .. body) end
    end
end

function done(summary, latency, requests)
    local sum = { stays = 0, there = 0, gone = 0, wrong = 0, asked = 0 }
    for _, thread in ipairs(threads) do
        for name in pairs(sum) do sum[name] = sum[name] + thread:get(name) end
    end
    -- Half of what was asked is the path that stays: a 404 in its place would be missing there.
    local answered = sum.stays + sum.there + sum.gone + sum.wrong
    if math.abs(answered - 2 * sum.stays) > 64 then
        print("the path that stays was answered " .. sum.stays .. " times of " .. answered)
        sum.wrong = sum.wrong + 1
    end
    local errors = summary.errors
    local lost = errors.connect + errors.read + errors.write + errors.timeout
    print(string.format("judged answers %d stays %d there %d gone %d wrong %d lost %d",
        answered, sum.stays, sum.there, sum.gone, sum.wrong, lost))
end
