using System.Collections.Concurrent;
using System.Data.Common;
using System.Net;

namespace Pakhouse.Server;

/// <summary>
/// When, from where and how often keys are used. Counted in memory, written in batches: an exchange writes nothing before it
/// answers. A crash loses at most the last <see cref="PakhouseOptions.UseFlush"/>; an orderly stop loses nothing.
/// </summary>
public sealed partial class KeyUse(Database database, PakhouseOptions options, TimeProvider clock, ILogger<KeyUse> log) : BackgroundService
{
    /// <summary>Entries (one a key and hour) kept while the database is out of reach; further uses are then not counted.</summary>
    private const int PendingMax = 1_000_000;

    /// <summary>Rows in one transaction: a deletion never waits behind a longer one.</summary>
    private const int BatchRows = 2_000;

    private const int UserAgentLengthMax = 200;

    private readonly ConcurrentDictionary<(string KeyId, long Hour), Use> pending = new();

    private sealed record Use(long Count, DateTimeOffset At, IPAddress? Address, string? UserAgent, string OrganizationId);

    /// <summary>Counts one exchange. No I/O, no lock that an exchange could wait for.</summary>
    public void Record(string keyId, string organizationId, DateTimeOffset at, IPAddress? address, string? userAgent)
    {
        if (pending.Count >= PendingMax) return;
        pending.AddOrUpdate((keyId, at.ToUnixTimeSeconds() / 3600),
            static (_, use) => use,
            static (_, before, use) => use with { Count = before.Count + 1 },
            new Use(1, at, address, userAgent, organizationId));
    }

    /// <summary>Writes what was counted. What could not be written stays for the next time.</summary>
    public async Task FlushAsync()
    {
        foreach (var batch in pending.Keys.Chunk(BatchRows))
        {
            var taken = new List<KeyValuePair<(string KeyId, long Hour), Use>>(batch.Length);
            foreach (var key in batch)
                if (pending.TryRemove(key, out var use)) taken.Add(new(key, use)); // atomic: a use that arrives now starts a new entry
            try
            {
                // Alone: a busy key is in the batch of every process, and serializable transactions on its row would send each other back.
                await database.WriteAloneAsync(async transaction => await WriteAsync(transaction, taken));
            }
            catch
            {
                foreach (var (key, use) in taken)
                    pending.AddOrUpdate(key, static (_, mine) => mine, static (_, newer, mine) => newer with { Count = newer.Count + mine.Count }, use);
                throw;
            }
        }
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(options.UseFlush, clock);
        try
        {
            while (await timer.WaitForNextTickAsync(stoppingToken)) await TryFlushAsync();
        }
        catch (OperationCanceledException)
        {
            // Stopping; StopAsync writes the rest.
        }
    }

    public override async Task StopAsync(CancellationToken cancellationToken)
    {
        await base.StopAsync(cancellationToken);
        await TryFlushAsync();
    }

    private async Task TryFlushAsync()
    {
        try
        {
            await FlushAsync();
        }
        catch (Exception e) when (Database.IsOutOfReach(e))
        {
            LogNotWritten(e, pending.Count);
        }
    }

    private static async Task<int> WriteAsync(DbTransaction transaction, List<KeyValuePair<(string KeyId, long Hour), Use>> uses)
    {
        // Two kept statements: the mapper would build each of some thousand commands anew.
        await using var last = Command(transaction,
            """
            INSERT INTO key_use (key_id, last_used_at, address, user_agent, organization_id) VALUES (@key, @at, @address, @agent, @organization)
            ON CONFLICT (key_id) DO UPDATE SET last_used_at = excluded.last_used_at, address = excluded.address,
                user_agent = excluded.user_agent, organization_id = excluded.organization_id
            WHERE excluded.last_used_at >= key_use.last_used_at
            """, "@key", "@at", "@address", "@agent", "@organization");
        await using var hours = Command(transaction,
            """
            INSERT INTO key_use_hours (key_id, hour, count) VALUES (@key, @hour, @count)
            ON CONFLICT (key_id, hour) DO UPDATE SET count = key_use_hours.count + excluded.count
            """, "@key", "@hour", "@count");

        foreach (var ((keyId, hour), use) in uses)
        {
            Set(last, keyId, use.At.ToUnixTimeMilliseconds(), use.Address?.ToString() ?? "", UserAgent(use.UserAgent), use.OrganizationId);
            await last.ExecuteNonQueryAsync();
            Set(hours, keyId, hour, use.Count);
            await hours.ExecuteNonQueryAsync();
        }

        return uses.Count;
    }

    private static DbCommand Command(DbTransaction transaction, string sql, params string[] parameters)
    {
        var command = transaction.Connection!.CreateCommand();
        (command.Transaction, command.CommandText) = (transaction, sql);
        foreach (var name in parameters)
        {
            var parameter = command.CreateParameter();
            parameter.ParameterName = name;
            command.Parameters.Add(parameter);
        }

        return command;
    }

    private static void Set(DbCommand command, params ReadOnlySpan<object> values)
    {
        for (var i = 0; i < values.Length; i++) command.Parameters[i].Value = values[i];
    }

    /// <summary>The caller's own words: cut, without control characters, and never a key that was put in the wrong header.</summary>
    private static string UserAgent(string? text)
    {
        if (string.IsNullOrEmpty(text)) return "";
        if (text.Contains($"_{KeyFormat.Kind}_", StringComparison.Ordinal)) return "(withheld: it held a key)";
        var cut = text.Length <= UserAgentLengthMax ? text : text[..UserAgentLengthMax];
        return new string([.. cut.Where(c => !char.IsControl(c) && !char.IsSurrogate(c))]);
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "Counts of key use could not be written; {Entries} entries wait for the next try")]
    private partial void LogNotWritten(Exception exception, int entries);
}
