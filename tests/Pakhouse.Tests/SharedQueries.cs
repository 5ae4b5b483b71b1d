using System.Runtime.CompilerServices;
using Dapper;

namespace Pakhouse.Tests;

/// <summary>
/// Dapper compiles the reader of a statement once per connection string, and every test has a database of its own. All of them have the
/// same schema, so the readers are shared.
/// </summary>
internal sealed class SharedQueries : IEqualityComparer<string>
{
    [ModuleInitializer]
    internal static void Share() => SqlMapper.ConnectionStringComparer = new SharedQueries();

    public bool Equals(string? x, string? y) => IsPostgres(x) == IsPostgres(y);

    public int GetHashCode(string connection) => IsPostgres(connection) ? 1 : 0;

    private static bool IsPostgres(string? connection) => connection?.StartsWith("Host=", StringComparison.OrdinalIgnoreCase) == true;
}
