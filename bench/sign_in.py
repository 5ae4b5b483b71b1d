#!/usr/bin/env python3
"""What signing in costs those who exchange keys: the exchange alone, and beside 48 people, each from an address of their own, who try passwords without a pause.

    dotnet build -c Release src/Pakhouse.Server && python3 bench/sign_in.py [rounds] [seconds]

The server is started as it is shipped, in a folder of its own, behind a proxy that this script plays (X-Forwarded-For). Every attempt names another
address, so each is hashed: the limits of an account and of an address do not help. The figures are those of one machine and hour; quote the ratio.
"""
import http.client, os, random, re, shutil, socket, statistics, subprocess, sys, tempfile, threading, time, urllib.parse

PEOPLE = 48
ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 and sys.argv[1] != "load" else 3
SECONDS = float(sys.argv[2]) if len(sys.argv) > 2 and sys.argv[1] != "load" else 8
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def hidden(page):
    return re.findall(r'<input name="(__RequestVerificationToken)" type="hidden" value="([^"]*)"', page)[:1]


def cookies(answer):
    return "; ".join(value.split(";")[0] for name, value in answer.getheaders() if name.lower() == "set-cookie")


def load(port, seconds):
    """Another process, so that its threads take no time from who measures."""
    end, counts, lock = time.time() + seconds, {}, threading.Lock()

    def person(number):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        headers = {"X-Forwarded-For": f"203.{number}.113.7"}
        connection.request("GET", "/sign-in", headers=headers)
        answer = connection.getresponse()
        fields, cookie = hidden(answer.read().decode()), cookies(answer)
        while time.time() < end:
            body = urllib.parse.urlencode([*fields, ("Email", f"{random.random()}@example.com"), ("Password", "not the right one")])
            connection.request("POST", "/sign-in", body, {**FORM, **headers, "Cookie": cookie})
            answer = connection.getresponse()
            answer.read()
            with lock:
                counts[answer.status] = counts.get(answer.status, 0) + 1
            if answer.status in (429, 503):
                time.sleep(0.05)  # some client that does not read Retry-After

    threads = [threading.Thread(target=person, args=(number,)) for number in range(PEOPLE)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    print(counts)


def measure(port, key, seconds):
    connection, took, end = http.client.HTTPConnection("127.0.0.1", port, timeout=60), [], time.time() + seconds
    while time.time() < end:
        start = time.perf_counter()
        connection.request("POST", "/auth/v3/token", "personalAccessKey=" + key, {**FORM, "X-Forwarded-For": "198.51.100.7"})
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200, answer.status
        took.append((time.perf_counter() - start) * 1000)
        time.sleep(0.002)
    return took


def set_up(port, code):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", f"/setup?code={code}")
    answer = connection.getresponse()
    page, cookie = answer.read().decode(), cookies(answer)
    form = dict(re.findall(r'<input[^>]*name="([^"]+)"[^>]*value="([^"]*)"', page))
    form.update({name: value for name, value in hidden(page)})
    form.update({"UserName": "Ada", "Email": "ada@example.com", "Password": "correct horse battery", "OrganizationName": "Acme", "Code": code})
    connection.request("POST", "/setup", urllib.parse.urlencode(form), {**FORM, "Cookie": cookie})
    answer = connection.getresponse()
    answer.read()
    assert answer.status == 303, (answer.status, sorted(form))
    cookie = "; ".join(filter(None, [cookie, cookies(answer)]))
    connection.request("GET", "/identity/v1/session", headers={"Cookie": cookie})
    answer = connection.getresponse()
    token = re.search(r'"requestVerificationToken":"([^"]+)"', answer.read().decode()).group(1)
    cookie = "; ".join(filter(None, [cookie, cookies(answer)]))
    connection.request("GET", "/identity/v1/organizations", headers={"Cookie": cookie})
    organization = re.search(r'"id":"([^"]+)"', connection.getresponse().read().decode()).group(1)
    connection.request("POST", f"/identity/v1/organizations/{organization}/personal-access-keys", '{"name":"Bench"}',
                       {"Content-Type": "application/json", "Cookie": cookie, "RequestVerificationToken": token})
    return re.search(r'"personalAccessKey":"([^"]+)"', connection.getresponse().read().decode()).group(1)


def main():
    build = os.environ.get("BUILD", os.path.join(os.path.dirname(os.path.abspath(__file__)), "../src/Pakhouse.Server/bin/Release/net10.0"))
    folder = tempfile.mkdtemp()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = open(os.path.join(folder, "log"), "w+")
    server = subprocess.Popen(["dotnet", os.path.join(build, "Pakhouse.Server.dll"), "--Pakhouse:DataFolder", folder, "--Pakhouse:Listen", f"http://127.0.0.1:{port}",
                               "--Pakhouse:TrustedProxies", "127.0.0.1"], stdout=log, stderr=log, cwd=folder)
    try:
        for _ in range(300):
            log.seek(0)
            if "Pakhouse serves" in log.read():
                break
            time.sleep(0.1)
        printed = subprocess.run(["dotnet", os.path.join(build, "Pakhouse.Server.dll"), "set-up", "--Pakhouse:DataFolder", folder],
                                 capture_output=True, text=True, check=True, cwd=folder).stdout
        found = re.search(r"/setup\?code=([^\s\"]+)", printed)
        key = set_up(port, found.group(1))
        measure(port, key, 3)  # warm
        alone, beside, answers = [], [], []
        for _ in range(ROUNDS):
            alone.append(measure(port, key, SECONDS))
            other = subprocess.Popen([sys.executable, __file__, "load", str(port), str(SECONDS + 2)], stdout=subprocess.PIPE, text=True)
            time.sleep(1)
            beside.append(measure(port, key, SECONDS))
            answers.append(other.communicate()[0].strip())
        print("| | exchanges | median ms | p99 ms |\n|---|---:|---:|---:|")
        for name, rounds in (("alone", alone), (f"beside {PEOPLE} who try passwords", beside)):
            p99 = [statistics.quantiles(one, n=100)[98] for one in rounds]
            print(f"| {name} | {sum(map(len, rounds))} | {statistics.median(statistics.median(one) for one in rounds):.2f} | {statistics.median(p99):.2f} |")
        print("Answers to the sign-ins, by status:", *answers)
    finally:
        server.terminate()
        server.wait()
        log.close()
        shutil.rmtree(folder)


if __name__ == "__main__":
    load(int(sys.argv[2]), float(sys.argv[3])) if len(sys.argv) > 1 and sys.argv[1] == "load" else main()
