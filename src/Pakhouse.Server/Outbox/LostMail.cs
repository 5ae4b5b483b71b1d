using System.Data.Common;

namespace Pakhouse.Server;

/// <summary>A message that was given up.</summary>
/// <param name="InvitationId">The invitation in the message, if any.</param>
/// <param name="Why">Our own text, for people and the audit record.</param>
public sealed record LostMail(string Recipient, Guid? InvitationId, DateTimeOffset SentAt, string Why);

/// <summary>Finds who must know that a message was given up, in the transaction that gives it up.</summary>
public interface IMailLoss
{
    Task NotifyAsync(DbTransaction transaction, LostMail lost);
}
