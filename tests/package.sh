#!/usr/bin/env bash
# The package as its users get it: locked restore refuses a version that the lock file does not name; then the package is made, an API
# takes it from a folder, is published trimmed, and refuses a caller without a token and one whose token cannot be checked.
# The last line is "ok" or says what is wrong.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
work=$(mktemp -d)
version="0.0.0-test.$(date +%s%N)"
cache=$(dotnet nuget locals global-packages --list | sed 's/^[^/]*//')
remove() { rm -rf "$work" "${cache:?}/pakhouse.aspnetcore/$version"; }
trap remove EXIT
wrong() { tail -20 "$work/log"; echo "$1"; exit 1; }

project=src/Pakhouse.AspNetCore
mkdir -p "$work/locked/$project"
cp Directory.*.props BannedSymbols.txt global.json "$work/locked/"
cp $project/*.csproj $project/*.targets $project/packages.lock.json "$work/locked/$project/"
(cd "$work/locked" && CI=true dotnet restore $project -v quiet) > "$work/log" 2>&1 || wrong "Locked restore refuses the lock file as it is."
sed -i 's/\(JwtBearer" Version="10\.0\.\)[0-9]*/\11/' "$work/locked/Directory.Packages.props"
(cd "$work/locked" && CI=true dotnet restore $project -v quiet) > "$work/log" 2>&1 &&
  wrong "Locked restore is not in force: a version without its lock file was restored."
grep -q NU1004 "$work/log" || wrong "Restore failed, but not because of the lock file."

dotnet pack $project -c Release -v quiet -nologo -o "$work/feed" -p:PackageVersion="$version" > "$work/log" 2>&1 ||
  wrong "The package could not be made."
[ -f "$work/feed/Pakhouse.AspNetCore.$version.snupkg" ] || wrong "The package has no symbols."

mkdir "$work/api"
cat > "$work/api/Api.csproj" <<XML
<Project Sdk="Microsoft.NET.Sdk.Web">
  <PropertyGroup>
    <TargetFramework>net10.0</TargetFramework>
    <ImplicitUsings>enable</ImplicitUsings>
    <PublishTrimmed>true</PublishTrimmed>
    <TrimMode>full</TrimMode>
    <TrimmerSingleWarn>false</TrimmerSingleWarn>
    <InvariantGlobalization>true</InvariantGlobalization>
    <RestoreAdditionalProjectSources>$work/feed</RestoreAdditionalProjectSources>
  </PropertyGroup>
  <ItemGroup>
    <PackageReference Include="Pakhouse.AspNetCore" Version="[$version]" />
  </ItemGroup>
</Project>
XML
cat > "$work/api/Program.cs" <<'CS'
using System.Buffers.Text;
using System.Net.Http.Headers;
using System.Text;
using Pakhouse.AspNetCore;

var builder = WebApplication.CreateSlimBuilder();
builder.WebHost.UseUrls("http://127.0.0.1:0");
builder.Logging.ClearProviders();
builder.Services.AddPakhouse(options => options.Issuer = "http://127.0.0.1:1");
await using var app = builder.Build();
app.UseAuthentication();
app.UseAuthorization();
app.MapGet("/orders", (RequestDelegate)(context => context.Response.WriteAsync("orders"))).RequireScope("orders:read");
await app.StartAsync();

using var http = new HttpClient { BaseAddress = new Uri(app.Urls.Single()) };
var without = await http.GetAsync("/orders");
string[] parts =
[
    """{"alg":"ES256","typ":"at+jwt","kid":"none"}""",
    """{"iss":"http://127.0.0.1:1","aud":"http://127.0.0.1:1","exp":4102444800}""",
    new string('s', 64),
];
var token = string.Join('.', parts.Select(part => Base64Url.EncodeToString(Encoding.UTF8.GetBytes(part))));
http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", token);
var unknown = await http.GetAsync("/orders");
Console.WriteLine($"{(int)without.StatusCode} {(int)unknown.StatusCode}");
await app.StopAsync();
CS
runtime=$(dotnet --info | sed -n 's/^ *RID: *//p')
dotnet publish "$work/api" -c Release -r "$runtime" -v quiet -nologo -o "$work/published" > "$work/log" 2>&1 ||
  wrong "An API with the package could not be published trimmed."
grep -E 'warning IL[0-9]+: Pakhouse' "$work/log" && wrong "The package is not safe to trim."
answers=$("$work/published/Api" 2> "$work/log")
[ "$answers" = "401 503" ] || wrong "The trimmed API answered '$answers' and not '401 503' (no token, and a token that cannot be checked)."
echo "ok"
