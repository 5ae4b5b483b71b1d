using System.Data.Common;
using System.Runtime.CompilerServices;

namespace Pakhouse.Server;

/// <summary>A row of the audit record for the operator's log: ids, and never a name, an address or a detail.</summary>
/// <param name="Target">The id of what was changed.</param>
/// <param name="By">A user, a key, or the operator.</param>
internal readonly record struct RecordedChange(string Action, string Target, string By, Guid? OrganizationId);

/// <summary>What a change reports to its database besides its statements.</summary>
internal sealed class TransactionNotes
{
    /// <summary>A change of a whole organization ends any number of keys; the audit record has them all.</summary>
    public const int ChangesMax = 100;

    private static readonly ConditionalWeakTable<DbTransaction, TransactionNotes> notes = [];

    private readonly List<RecordedChange> changes = [];

    /// <summary>It ends or suspends what could do harm, so it is allowed on a full disk too; see <see cref="DiskReserve"/>.</summary>
    public bool IsUrgent { get; set; }

    /// <summary>Its audit records: the first <see cref="ChangesMax"/>.</summary>
    public IReadOnlyList<RecordedChange> Changes => changes;

    /// <summary>The number of further audit records.</summary>
    public int MoreChanges { get; private set; }

    public static TransactionNotes Of(DbTransaction transaction) => notes.GetOrCreateValue(transaction);

    /// <summary>
    /// The notes of a new transaction. Npgsql reuses one object for many transactions of a connection, so earlier notes are deleted.
    /// </summary>
    public static TransactionNotes Begin(DbTransaction transaction)
    {
        var begun = new TransactionNotes();
        notes.AddOrUpdate(transaction, begun);
        return begun;
    }

    public void Add(RecordedChange change)
    {
        if (changes.Count < ChangesMax) changes.Add(change);
        else MoreChanges++;
    }
}
